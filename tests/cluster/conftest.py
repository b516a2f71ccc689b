"""Real processes: one server on SQLite, or two on PostgreSQL and Redis."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from harness.demo_data import SQLITE, make_demo_data
from harness.services import (
    PostgresServer,
    RedisServer,
    SiteServer,
    free_port,
    manage,
    postgres_server,
    redis_server,
    site_server,
)
from harness.visitor import TIMEOUT_SECONDS, Visitor
from notifications import models

# Short intervals; the periodic task runs only when a test calls it.
FAST = {"DJANGO_SETTINGS_MODULE": "tests.cluster.settings"}


# The server, and whether frames are written past ASGI's `send`.
WAYS = [
    ("daphne", True),
    ("daphne", False),
    ("uvicorn", True),
    ("uvicorn", False),
    ("uvicorn, websockets", False),
    ("uvicorn, wsproto", False),
]
each_way = pytest.mark.parametrize(
    ("server", "direct"),
    WAYS,
    ids=[f"{server}, {'direct' if direct else 'asgi'}" for server, direct in WAYS],
)


def wait_until(condition: Callable[[], Any], timeout: float = TIMEOUT_SECONDS) -> None:
    """Poll until the condition is true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.1)


@dataclass
class Site:
    """One site of one or more server processes."""

    env: dict[str, str]
    servers: list[SiteServer]

    def manage(self, *args: str) -> str:
        return manage(*args, env=self.env)

    def shell(self, code: str) -> str:
        """Run code in a `manage.py shell`, which is not a server process."""
        imports = "from notifications import *; from django.contrib.auth.models import User"
        return self.manage("shell", "-v", "0", "-c", f"{imports}\n{code}").strip()

    def count(self, model: str) -> int:
        """Return the number of rows of one of our models."""
        return count_rows(self.env["DATABASE_URL"], getattr(models, model)._meta.db_table)


def count_rows(database: str, table: str) -> int:
    query = f"SELECT count(*) FROM {table}"
    if database.startswith(SQLITE):
        with closing(
            sqlite3.connect(database.removeprefix(SQLITE), timeout=TIMEOUT_SECONDS)
        ) as connection:
            return int(connection.execute(query).fetchone()[0])
    with psycopg.connect(database) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row
        return int(row[0])


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis for one test, which may stop and freeze it."""
    with redis_server() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for one test, which may stop it."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def start_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def start(env: dict[str, str], servers: int = 1, server: str = "daphne") -> Site:
            env = {"DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3", **env}
            make_demo_data(env)
            return Site(
                env,
                [
                    stack.enter_context(site_server(free_port(), env, server))
                    for _ in range(servers)
                ],
            )

        yield start


@pytest.fixture
def cluster_env(postgres: PostgresServer) -> Callable[[RedisServer], dict[str, str]]:
    def env(redis: RedisServer) -> dict[str, str]:
        database = postgres.create_database(f"site_{uuid.uuid4().hex[:12]}")
        return {"DATABASE_URL": database, "REDIS_URL": redis.url}

    return env


@pytest.fixture
def cluster(start_site, cluster_env, shared_redis) -> Site:
    """Two servers with one database and one Redis, at a short interval."""
    return start_site({**cluster_env(shared_redis), **FAST}, servers=2)


@pytest.fixture
def new_visitor() -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def new(site: str, username: str, **options: str) -> Visitor:
        visitors.append(Visitor())
        return visitors[-1].log_in(site, username, **options)

    yield new
    for visitor in visitors:
        visitor.leave()
