from __future__ import annotations

from example_project.shop.apps import ShopConfig


class QuietShop(ShopConfig):
    """The shop's model and admin without its receivers: what the app does is looked at as it is."""

    def ready(self) -> None:
        pass
