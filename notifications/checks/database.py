"""Writers must wait for each other, and connections must end with their requests."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.db import router

from notifications.models import Notification


def check_database(**kwargs: Any) -> list[CheckMessage]:
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
