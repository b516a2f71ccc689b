from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from notify_site.shop import demo


class Command(BaseCommand):
    help = (
        "Makes the demo's accounts, each with orders to pay, as far as they are missing. "
        "Their password is public, so it only works while debugging."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "Demo accounts have a public password: they are made only with DJANGO_DEBUG=1."
            )
        accounts, orders = demo.make()
        self.stdout.write(f"Demo data: {accounts} accounts and {orders} orders added.")
