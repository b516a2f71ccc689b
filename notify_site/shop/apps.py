from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "notify_site.shop"
    label = "shop"

    def ready(self) -> None:
        from . import checks, receivers  # noqa: F401  registers and connects them
