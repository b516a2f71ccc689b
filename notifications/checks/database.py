"""Writers must wait for each other, and connections must end with their requests."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning
from django.db import connections, router

from notifications.models import Notification

SUPPORTED_VENDORS: Final = frozenset({"postgresql", "sqlite"})


def check_database(**kwargs: Any) -> list[CheckMessage]:
    return [*_check_vendor(), *_check_options(), *_check_accounts()]


def _check_vendor() -> list[CheckMessage]:
    using = router.db_for_write(Notification)
    vendor = connections[using].vendor  # of the backend's class: nothing connects
    if vendor in SUPPORTED_VENDORS:
        return []
    return [
        Error(
            f"The database “{using}” is of the vendor “{vendor}”. Notifications need PostgreSQL or "
            "SQLite: others lack what keeps them once and in order.",
            hint="Keep this app's tables in another database, by a router, if the site can't move.",
            id="notifications.E055",
        )
    ]


def _check_accounts() -> list[CheckMessage]:
    ours, theirs = router.db_for_write(Notification), router.db_for_write(get_user_model())
    if ours == theirs:
        return []
    return [
        Warning(
            f"Notifications are in the database “{ours}”, accounts in “{theirs}”, and no "
            f"transaction spans both: what is sent in one of “{theirs}” stays if that is rolled "
            "back.",
            hint="Where that matters, send after the commit: "
            f'transaction.on_commit(lambda: notify_accounts(…), using="{theirs}").',
            id="notifications.W054",
        )
    ]


def _check_options() -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    database = settings.DATABASES.get(router.db_for_write(Notification), {})
    options = database.get("OPTIONS", {})
    if database.get("ENGINE") == "django.db.backends.sqlite3" and not (
        options.get("transaction_mode") == "IMMEDIATE" and options.get("timeout", 5) >= 20
    ):
        messages.append(
            Warning(
                "SQLite will fail with “database is locked” when several writers meet.",
                hint='Set OPTIONS to {"transaction_mode": "IMMEDIATE", "timeout": 20, '
                '"init_command": "PRAGMA journal_mode=WAL;"}.',
                id="notifications.W008",
            )
        )
    if database.get("CONN_MAX_AGE", 0) != 0:
        messages.append(
            Warning(
                "Under ASGI each request runs in its own thread. CONN_MAX_AGE keeps its database "
                "connection open after the thread has ended, until there are too many.",
                hint="Leave CONN_MAX_AGE at 0. With PostgreSQL you can use a pool: "
                'OPTIONS = {"pool": True}.',
                id="notifications.W012",
            )
        )
    return messages
