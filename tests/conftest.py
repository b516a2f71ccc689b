from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache

from notifications.channel_layer import sender
from notifications.channel_layer import site as site_module
from notifications.channel_layer.site import Site, SiteReader
from notifications.sessions import readers
from notifications.sessions.adapter import ADAPTER
from tests.realtime import REASONS, without_parameters


class KnownSite(SiteReader):
    """Knows the site, and reads nothing."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.learn(site)

    def _begin_if_due(self) -> None:
        pass


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Refuse realtime tests without a reason, mark the traps for make verify, and sort."""
    for item in items:
        if item.get_closest_marker("realtime"):
            name = without_parameters(item.nodeid)
            if name not in REASONS:
                raise pytest.UsageError(f"{name} is marked realtime: add it to tests/realtime.py")
        if "tests/traps/" in item.nodeid:
            item.add_marker("verify")  # they test other projects more than ours
    yield
    items.sort(key=lambda item: -seconds_of(item))  # the longest first, parallel to the others


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Name the test that turned off the bulk reading of sessions, not a later one that needs it."""
    yield
    # By now all fixtures have restored what they changed.
    if ADAPTER._reason and not ADAPTER._reason.startswith("not tested with"):
        reason, ADAPTER._reason = ADAPTER._reason, None
        pytest.fail(f"The adapter of Django's sessions was turned off: {reason}")


def seconds_of(item: pytest.Item) -> float:
    marker = item.get_closest_marker("verify")
    return marker.args[0] if marker and marker.args else 0


@pytest.fixture
def make_account(db: None) -> Callable[..., User]:
    def make(username: str, **fields: Any) -> User:
        return User.objects.create_user(username, password="demo", **fields)

    return make


@pytest.fixture
def alice(make_account: Callable[..., User]) -> User:
    return make_account("alice")


@pytest.fixture
def bob(make_account: Callable[..., User]) -> User:
    return make_account("bob")


@pytest.fixture
def carol(make_account: Callable[..., User]) -> User:
    """An account that has nothing to do with alice and bob."""
    return make_account("carol")


@pytest.fixture
def operator(make_account: Callable[..., User]) -> User:
    return make_account("operator", is_staff=True, is_superuser=True)


@pytest.fixture(autouse=True, scope="session")
def known_site() -> Iterator[Site]:
    """The site is known without the database, which many tests do not use."""
    known = Site("site of the tests", offset=time.time() - time.monotonic())
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(site_module, "reader", KnownSite(known))
        yield known


@pytest.fixture(autouse=True)
def closed_breaker() -> None:
    """Close the breaker that an earlier test may have opened."""
    sender.breaker.succeeded()


@pytest.fixture(params=["db", "cached_db", "cache", "file", "signed_cookies"])
def engine(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> Iterator[str]:
    """Each of Django's session engines; files are in `tmp_path`."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if hasattr(store, "_storage_path"):
        del store._storage_path  # remembered from another test
    readers._store_reader.cache_clear()  # its class remembers the path as well
    yield request.param
    if hasattr(store, "_storage_path"):
        del store._storage_path
    cache.clear()


@pytest.fixture
def traces(tmp_path: Path) -> Callable[[], Any]:
    """Read everything that stores sessions: rows, cache entries, and files."""

    def read() -> Any:
        files = {
            path.name: (path.read_text(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()
        }
        return sorted(Session.objects.values_list()), dict(cache._cache), files

    return read
