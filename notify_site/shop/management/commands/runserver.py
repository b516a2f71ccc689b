from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.staticfiles.management.commands.runserver import Command as StockCommand
from django.core.management.base import CommandError

from notify_site.start import ONLY_THIS_MACHINE, is_loopback


class Command(StockCommand):
    """Django's, which does not run the site's ASGI application, with the same limit."""

    def run(self, **options: Any) -> None:
        if settings.DEBUG and not is_loopback(self.addr):
            raise CommandError(f"Not listening on {self.addr}. {ONLY_THIS_MACHINE}")
        super().run(**options)
