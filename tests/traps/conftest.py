from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.benchmarks.peers import Unavailable
from harness.demo_data import make_demo_data
from harness.services import RedisServer, redis_server, running
from tests.traps.peers import GoServer, Ours, Peer, Plain

P = TypeVar("P", bound=Peer)
Start = Callable[[Callable[[Path], P]], P]


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The demo's accounts and orders in SQLite, for all servers except the Go server."""
    database = tmp_path_factory.mktemp("traps") / "site.sqlite3"
    env = {
        "DATABASE_URL": f"sqlite:///{database}",
        "DJANGO_SETTINGS_MODULE": "tests.traps.settings",
    }
    make_demo_data(env)
    return env


@pytest.fixture(scope="session")
def plain(env: dict[str, str]) -> Iterator[Plain]:
    with running(lambda directory: Plain(directory, env)) as server:
        yield server


@pytest.fixture(scope="session")
def ours(env: dict[str, str]) -> Iterator[Ours]:
    with running(lambda directory: Ours(directory, env)) as server:
        yield server


@pytest.fixture(scope="session")
def go() -> Iterator[GoServer]:
    with started(GoServer) as server:
        yield server


@pytest.fixture
def start() -> Iterator[Start[Any]]:
    """Start a server for one test, which may stop it."""
    with ExitStack() as stack:
        yield lambda build: stack.enter_context(started(build))


@contextmanager
def started(build: Callable[[Path], P]) -> Iterator[P]:
    """Skip the test if the server can't run on this machine."""
    try:
        with running(build) as server:
            yield server
    except Unavailable as reason:
        pytest.skip(str(reason))
