"""Very many requests at once, for a server whose database has few connections."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from harness.services import PostgresServer, RedisServer, postgres_server
from harness.visitor import TIMEOUT_SECONDS, Visitor

from .conftest import Site

AT_ONCE = 80
NEIGHBOURS_REQUESTS = 5


@pytest.fixture
def small_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL with the connections that a request each would take, and few more."""
    with postgres_server("--max_connections=50") as server:
        yield server


class Crowd:
    """Threads of one browser, or of nobody, that repeat a request each, as fast as they can."""

    def __init__(self, port: int, method: str, path: str, headers: dict[str, str], body: str):
        self.answers: Counter[int] = Counter()
        self._request: Any = (method, path, body, headers)
        self._port = port
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._repeat) for _ in range(AT_ONCE)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self) -> None:
        while not self._is_over.is_set():
            connection = HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
            connection.request(*self._request)
            self.answers[connection.getresponse().status] += 1
            connection.close()


def mark(visitor: Visitor) -> tuple[str, str, dict[str, str], str]:
    token = next(cookie.value or "" for cookie in visitor.cookies if cookie.name == "csrftoken")
    headers = {
        "Cookie": visitor.cookie_header,
        "X-CSRFToken": token,
        "Content-Type": "application/json",
    }
    return "POST", "/notifications/mark/", headers, json.dumps({"ids": ["n1"], "as": "read"})


def read(visitor: Visitor) -> tuple[str, str, dict[str, str], str]:
    return "GET", "/notifications/items/?limit=100", {"Cookie": visitor.cookie_header}, ""


def open_page(visitor: Visitor) -> tuple[str, str, dict[str, str], str]:
    return "GET", "/", {"Cookie": visitor.cookie_header}, ""


def ask_readiness(visitor: Visitor) -> tuple[str, str, dict[str, str], str]:
    return "GET", "/readyz", {}, ""


@pytest.mark.verify
@pytest.mark.parametrize(
    ("server", "request_of"),
    [("daphne", mark), ("daphne", ask_readiness), ("uvicorn", read), ("daphne", open_page)],
    ids=["mark", "readyz", "items", "page"],
)
def test_a_crowd_of_requests_leaves_connections_for_others(
    small_postgres: PostgresServer,
    shared_redis: RedisServer,
    start_site: Callable[..., Site],
    new_visitor: Callable[..., Visitor],
    server: str,
    request_of: Callable[[Visitor], tuple[str, str, dict[str, str], str]],
) -> None:
    env = {
        "DATABASE_URL": small_postgres.create_database("site"),
        "REDIS_URL": shared_redis.url,
        "DJANGO_SETTINGS_MODULE": "harness.demo_settings",  # with the demo's pool
    }
    site = start_site(env, server=server)
    (process,) = site.servers
    alice, bob = (new_visitor(process.url, name) for name in ("alice", "bob"))

    with Crowd(process.port, *request_of(alice)) as crowd:
        for _ in range(NEIGHBOURS_REQUESTS):
            assert bob.get_json(f"{process.url}/notifications/items/")["items"] == []
        assert bob.open_tab(process.url).receive("heartbeat")

    assert set(crowd.answers) <= {200, 503}, crowd.answers
    assert crowd.answers[200]
    assert "too many clients" not in process.output()
