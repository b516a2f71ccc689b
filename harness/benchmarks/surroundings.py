"""What the servers need around them: Redis, PostgreSQL, accounts and sessions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from harness import accounts
from harness.services import (
    ROOT,
    PostgresServer,
    RedisServer,
    manage,
    redis_server,
    site_environment,
)


@dataclass
class Surroundings:
    """One Redis and one database, used by one server after the other."""

    directory: Path
    redis: RedisServer
    postgres: PostgresServer
    env: dict[str, str]
    sessions: int

    @property
    def pids(self) -> list[int]:
        return [self.redis.pid, self.postgres.pid]

    def empty_inboxes(self) -> None:
        """Forget all notifications and broadcasts, so that every server finds the same."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT tablename FROM pg_tables WHERE tablename LIKE 'notifications_%'"
            )
            tables = ", ".join(name for (name,) in rows)
            connection.execute(f"TRUNCATE {tables}".encode())
            connection.execute("VACUUM ANALYZE auth_user, django_session")
        self.redis.flush()

    def grow_to(self, count: int) -> None:
        """Make accounts until there are so many."""
        with self._connect() as connection:
            connection.execute(accounts.MORE.encode(), [count])
            connection.execute("VACUUM ANALYZE auth_user")

    def shrink(self) -> None:
        """Leave only the accounts that have sessions."""
        with self._connect() as connection:
            connection.execute("DELETE FROM auth_user WHERE id > %s", [self.sessions])
            connection.execute("VACUUM FULL auth_user")

    def postgres_version(self) -> str:
        with self._connect() as connection:
            row = connection.execute("SHOW server_version").fetchone()
            assert row
            return str(row[0])

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.env["DATABASE_URL"], autocommit=True)


@contextmanager
def surroundings(sessions: int) -> Iterator[Surroundings]:
    """Start everything, with so many accounts that each have a session."""
    with (
        TemporaryDirectory(prefix="notify-site-benchmark-") as directory,
        redis_server() as redis,
        durable_postgres() as postgres,
    ):
        env = {
            "DATABASE_URL": postgres.create_database("benchmark"),
            "REDIS_URL": redis.url,
            "DJANGO_SETTINGS_MODULE": "notify_site.settings",
            "DJANGO_DEBUG": "0",
            "DJANGO_SECRET_KEY": "only-for-the-benchmark",
            "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
        }
        manage("migrate", "-v", "0", env=env)
        subprocess.run(
            [sys.executable, "-m", "harness.accounts", str(sessions)],
            cwd=ROOT,
            env=site_environment(env),
            check=True,
        )
        yield Surroundings(Path(directory), redis, postgres, env, sessions)


@contextmanager
def durable_postgres(*options: str) -> Iterator[PostgresServer]:
    with TemporaryDirectory(prefix="notify-site-") as directory:
        server = PostgresServer(Path(directory))
        # The tests' does not wait for the disk; a commit that counts does.
        server.command = [*server.command, "--fsync=on", *options]
        server.start()
        try:
            yield server
        finally:
            server.kill()
