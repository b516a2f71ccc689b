from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "notify_site.shop"
    label = "shop"

    def ready(self) -> None:
        from . import receivers  # noqa: F401  connects them
