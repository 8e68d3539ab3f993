from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PolarPortalConfig(AppConfig):
    name = "polar_portal"
    verbose_name = _("Polar portal")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from polar_portal import checks  # noqa: F401 - registers them
