"""The demo site in this process, with two accounts, and a handler that collects logged errors."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import Any


class Errors(logging.Handler):
    """Collects records logged as errors; no client input may cause one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "status_code", 500) < 500:
            return  # Django logs some refusals as errors
        self.messages.append(self.format(record))


class Site:
    """
    The ASGI application, on the empty database in DATABASE_URL.

    Alice is logged in, and must not be able to change bob's rows.
    """

    def __init__(self) -> None:
        os.environ["DJANGO_SETTINGS_MODULE"] = "harness.fuzz.settings"
        self.application: Any = import_module("notify_site.asgi").application
        import_module("notify_site.urls")
        # Waiting for other requests to batch would take most of the time.
        for module in ("notifications.db.thread", "notifications.hub.catch_up"):
            vars(import_module(module))["GATHER_SECONDS"] = 0
        self._errors = Errors()
        logging.getLogger().addHandler(self._errors)
        self._fill()

    def _fill(self) -> None:
        from django.contrib.auth.models import User
        from django.core.management import call_command

        from notifications import broadcast, notify_accounts
        from notifications.testing import log_in

        call_command("migrate", verbosity=0)
        alice, self.bob = (User.objects.create_user(name) for name in ("alice", "bob"))
        for n in range(6):
            notify_accounts([alice, self.bob], "news", f"News {n}", level="warning")
        for n in range(2):
            broadcast("maintenance", f"Work {n}", level="warning")
        self.session = log_in(alice)
        self._bobs_rows_before = self._bobs_rows()

    def _bobs_rows(self) -> list[Any]:
        from notifications.models import BroadcastReceipt, Inbox, Notification

        models: list[Any] = [Inbox, Notification, BroadcastReceipt]
        return [list(model.objects.filter(account_id=self.bob.pk).values()) for model in models]

    def check_log(self) -> None:
        """Raise if anything was logged as an error."""
        assert not self._errors.messages, "\n".join(self._errors.messages)

    def check_bob(self) -> None:
        """Raise if any of bob's rows has changed."""
        assert self._bobs_rows() == self._bobs_rows_before
