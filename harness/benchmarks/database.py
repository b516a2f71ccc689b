"""The database between two turns: every server finds the same in it."""

from __future__ import annotations

from harness.accounts import MORE
from harness.surroundings import Surroundings


def empty_inboxes(around: Surroundings) -> None:
    """Forget all notifications and broadcasts, in Redis too."""
    with around.connect() as connection:
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE tablename LIKE '%notifications_%'"
        )
        tables = ", ".join(name for (name,) in rows)
        connection.execute(f"TRUNCATE {tables}".encode())
        connection.execute("VACUUM ANALYZE auth_user, django_session")
    around.redis.flush()


def grow_to(around: Surroundings, accounts: int) -> None:
    """Make accounts until there are so many."""
    with around.connect() as connection:
        connection.execute(MORE.encode(), [accounts])
        connection.execute("VACUUM ANALYZE auth_user")


def postgres_version(around: Surroundings) -> str:
    with around.connect() as connection:
        row = connection.execute("SHOW server_version").fetchone()
        assert row
        return str(row[0])
