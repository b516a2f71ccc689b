"""The database connections of this thread."""

from __future__ import annotations

from django.db import connections


def close_old() -> None:
    """Close them as Django does after a request; those in a transaction of a caller stay open."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
