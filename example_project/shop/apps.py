from __future__ import annotations

from django.apps import AppConfig

from polar_portal.signals import document_handed_out, order_changed


class ShopConfig(AppConfig):
    name = "example_project.shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from example_project.shop.receivers import keep_purchase, note_download

        order_changed.connect(keep_purchase)
        document_handed_out.connect(note_download)
