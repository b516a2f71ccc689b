"""The services behind the servers: Redis, and PostgreSQL with accounts and their sessions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from harness.accounts import ASSIGN_AUDIENCES
from harness.services import (
    ROOT,
    PostgresServer,
    RedisServer,
    manage,
    postgres_server,
    redis_server,
    site_environment,
)


@dataclass
class BackingServices:
    """One Redis and one database, used by all processes that run with `env`."""

    redis: RedisServer
    postgres: PostgresServer
    env: dict[str, str]

    @property
    def pids(self) -> list[int]:
        return [self.redis.pid, self.postgres.pid]

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.env["DATABASE_URL"], autocommit=True)

    def assign_audiences(self) -> None:
        with self.connect() as connection:
            connection.execute(ASSIGN_AUDIENCES)


@contextmanager
def backing_services(
    accounts: int, settings: Mapping[str, str], *postgres_options: str
) -> Iterator[BackingServices]:
    """Start them, with accounts that have the primary keys 1 to `accounts` and a session each."""
    with redis_server() as redis, postgres_server(*postgres_options) as postgres:
        env = {
            "DATABASE_URL": postgres.create_database("site"),
            "REDIS_URL": redis.url,
            **settings,
        }
        manage("migrate", "-v", "0", env=env)
        subprocess.run(
            [sys.executable, "-m", "harness.accounts", str(accounts)],
            cwd=ROOT,
            env=site_environment(env),
            check=True,
        )
        yield BackingServices(redis, postgres, env)
