"""Reset the database between two turns, so that every server finds the same."""

from __future__ import annotations

from harness.accounts import INSERT_ACCOUNTS
from harness.backing_services import BackingServices


def empty_inboxes(backing: BackingServices) -> None:
    """Delete all notifications and broadcasts, and flush Redis."""
    with backing.connect() as connection:
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE tablename LIKE '%notifications_%'"
        )
        tables = ", ".join(name for (name,) in rows)
        connection.execute(f"TRUNCATE {tables}".encode())
        connection.execute("VACUUM ANALYZE auth_user, django_session")
    backing.redis.flush()


def grow_to(backing: BackingServices, accounts: int) -> None:
    """Add accounts until there are this many."""
    with backing.connect() as connection:
        connection.execute(INSERT_ACCOUNTS.encode(), [accounts])
        connection.execute("VACUUM ANALYZE auth_user")


def postgres_version(backing: BackingServices) -> str:
    with backing.connect() as connection:
        row = connection.execute("SHOW server_version").fetchone()
        assert row
        return str(row[0])
