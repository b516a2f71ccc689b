from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from notify_site.shop import demo


class Command(BaseCommand):
    help = (
        "Creates the demo's accounts, each with unpaid orders, unless they exist. "
        "Their password is public, so this only works while debugging."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("Demo accounts have a public password, so they need DJANGO_DEBUG=1.")
        accounts, orders = demo.create_missing()
        self.stdout.write(f"Demo data: {accounts} accounts and {orders} orders added.")
