"""The demo site in this process, with what its people have, and an ear for what it logs."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import Any


class Errors(logging.Handler):
    """All that is logged as an error: nothing that a client says may be one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


class Site:
    """
    The ASGI application, on the database that DATABASE_URL names, an empty one.

    Alice is logged in; what bob has is not hers to change.
    """

    def __init__(self) -> None:
        os.environ["DJANGO_SETTINGS_MODULE"] = "harness.fuzz.settings"
        self.application: Any = import_module("notify_site.asgi").application
        import_module("notify_site.urls")
        # A wait for others that ask at the same time would be most of a trial.
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
        self._bobs = self._what_bob_has()

    def _what_bob_has(self) -> list[Any]:
        from notifications.models import BroadcastReceipt, Inbox, Notification

        models: list[Any] = [Inbox, Notification, BroadcastReceipt]
        return [list(model.objects.filter(account_id=self.bob.pk).values()) for model in models]

    def check_log(self) -> None:
        """Raise if anything was logged as an error."""
        assert not self._errors.said, "\n".join(self._errors.said)

    def check_bob(self) -> None:
        """Raise if anything that bob has is not as it was."""
        assert self._what_bob_has() == self._bobs
