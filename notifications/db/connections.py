"""The database connections of this thread."""

from __future__ import annotations

from django.db import connections


def leave_pools() -> None:
    """
    Take this thread's connections out of the site's pools, from now on.

    There a thread waits when requests have taken all, or while the database is unavailable.
    """
    for connection in connections.all():
        options = connection.settings_dict.get("OPTIONS", {})
        if "pool" in options:
            own = {name: value for name, value in options.items() if name != "pool"}
            # A dict of this thread's, as the other one is shared.
            connection.settings_dict = {**connection.settings_dict, "OPTIONS": own}


def close_old() -> None:
    """Close them as Django does after a request; those in a transaction of a caller stay open."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def close_all() -> None:
    """Close them all, at the end of a thread."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if connection.connection:  # Django leaves that to an in-memory database open
            connection.connection.close()
