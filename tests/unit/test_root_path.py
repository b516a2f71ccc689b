"""Where the site is: from its settings or its server, never from a client."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from notifications.root_path import at_root_path, socket_route
from notifications.servers.root_path import with_option

SOURCES = ["FORCE_SCRIPT_NAME", "NOTIFICATIONS_ROOT_PATH", "scope"]
HOSTILE = ["https://evil.example", "//evil.example", "/evil", "evil", "/../..", "/shop/admin", "?"]


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests may have imported it."""
    monkeypatch.delitem(sys.modules, "uvicorn.server", raising=False)


def place(path: str, root_path: str = "") -> tuple[str, str]:
    found = at_root_path({"type": "http", "path": path, "root_path": root_path})
    return found["root_path"], found["path"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("/shop/orders/", "/shop/orders/"),  # the proxy keeps the root path
        ("/orders/", "/shop/orders/"),  # the proxy removes it
        ("/shop", "/shop"),
        ("/shop/", "/shop/"),
        ("/", "/shop/"),
        ("/shopping/", "/shop/shopping/"),
        ("/shop/shop/", "/shop/shop/"),
        ("//evil.example/", "/shop//evil.example/"),
    ],
)
def test_a_path_is_below_the_root_path_whatever_the_proxy_removes(
    settings: Any, source: str, path: str, whole: str
) -> None:
    if source != "scope":
        setattr(settings, source, "/shop")

    assert place(path, "/shop" if source == "scope" else "") == ("/shop", whole)


@pytest.mark.parametrize("root_path", ["shop", "/shop/", "shop/", "//shop"])
def test_the_option_of_a_server_may_be_written_in_any_way(root_path: str) -> None:
    assert place("/orders/", root_path) == ("/shop", "/shop/orders/")


@pytest.mark.parametrize("root_path", HOSTILE)
@pytest.mark.parametrize("source", SOURCES[:2])
def test_the_settings_count_more_than_any_server(
    settings: Any, source: str, root_path: str
) -> None:
    setattr(settings, source, "/shop")

    assert place("/orders/", root_path) == ("/shop", "/shop/orders/")


@pytest.mark.parametrize("path", ["/orders/", "/shop/orders/"])
def test_a_forced_prefix_that_ends_with_a_slash_is_removed_by_nobody_twice(
    settings: Any, path: str
) -> None:
    settings.FORCE_SCRIPT_NAME = "/shop/"  # Django removes it as it is

    assert place(path) == ("/shop", "/orders/")


@pytest.fixture
def daphne(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that Twisted's event loop runs."""
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", SimpleNamespace(running=True))


@pytest.mark.usefixtures("daphne")
@pytest.mark.parametrize("root_path", HOSTILE)
def test_under_plain_daphne_the_root_path_of_the_scope_does_not_count(root_path: str) -> None:
    assert place("/orders/", root_path) == ("", "/orders/")


@pytest.mark.usefixtures("daphne")
@pytest.mark.parametrize("root_path", HOSTILE)
def test_under_our_runner_its_option_counts(root_path: str) -> None:
    scope = with_option({"type": "http", "path": "/orders/", "root_path": root_path}, "/shop")

    found = at_root_path(scope)

    assert (found["root_path"], found["path"]) == ("/shop", "/shop/orders/")


@pytest.mark.parametrize("path", ["/shop/orders/", "/shop/shop/orders/"])
def test_uvicorn_puts_its_root_path_before_a_path_that_may_have_it(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn.server", SimpleNamespace())

    found = place(path, "/shop")

    assert found == ("/shop", "/shop/orders/")


@pytest.mark.parametrize(
    ("setting", "root_path", "route"),
    [
        ("ws/notifications/", "", "ws/notifications/"),
        ("ws/notifications/", "/shop", "ws/notifications/"),
        ("/live/", "", "live/"),
        ("/live/", "/shop", "live/"),
        ("/shop/live/", "/shop", "live/"),
    ],
)
def test_the_route_of_the_websocket_is_relative_to_the_root_path(
    settings: Any, setting: str, root_path: str, route: str
) -> None:
    settings.NOTIFICATIONS_SOCKET_PATH = setting
    settings.NOTIFICATIONS_ROOT_PATH = root_path

    assert socket_route() == route
