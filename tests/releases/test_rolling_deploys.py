"""
A rolling deploy from the previous release: the database is migrated, and both releases run.

Whatever one of them does arrives in the open tabs of both, at once: the hubs' checks are too far
apart to hide a message that the other release can't read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.sync.client import connect

from harness.accounts import session_key
from harness.services import ROOT, PostgresServer, SiteServer, free_port, redis_server
from harness.session import connect_arguments, cookie, send_request
from harness.visitor import TIMEOUT_SECONDS, OpenTab
from notifications.protocol import CloseCode
from tests.releases.release import CURRENT, Release

ACCOUNTS = 30  # the first ones have tabs


@dataclass
class Deploy:
    """Both releases, each with a server, and a tab of the accounts 1 and 2 on each server."""

    services: dict[str, str]
    servers: dict[str, SiteServer]
    releases: dict[str, Release]
    stack: ExitStack

    def __post_init__(self) -> None:
        self.tabs = [self.open_tab(1, server) for server in self.servers.values()]
        self.others = [self.open_tab(2, server) for server in self.servers.values()]

    def open_tab(self, account: int, server: SiteServer) -> OpenTab:
        arguments = connect_arguments(server.url, cookie(session_key(account)), {})
        tab = OpenTab(self.stack.enter_context(connect(**arguments)))
        tab.receive("register")
        tab.receive("heartbeat")  # it has caught up
        return tab

    def act(self, release: str, action: str, *arguments: str) -> None:
        self.releases[release].act(self.services, action, *arguments)

    def maintain(self, release: str) -> None:
        self.releases[release].manage(self.services, "notification_maintenance", "--once")

    def post(self, release: str, path: str, content: Any) -> Any:
        """Post JSON as account 1 to this release's server."""
        status, body = send_request(
            self.servers[release].port,
            session_key(1),
            "POST",
            f"/notifications/{path}",
            content,
            timeout=TIMEOUT_SECONDS,
        )
        assert status == 200, body
        return json.loads(body)

    def received(self, type: str) -> dict[str, Any]:
        """Return the next frame of this type, which both tabs of account 1 must get."""
        old, new = (tab.receive(type) for tab in self.tabs)
        assert old == new
        return new


@pytest.fixture(scope="module")
def deploy(previous: Release, postgres: PostgresServer) -> Iterator[Deploy]:
    releases = {"previous": previous, "current": CURRENT}
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        services = {
            "DATABASE_URL": postgres.create_database(f"rolling{free_port()}"),
            "REDIS_URL": redis.url,
        }
        previous.manage(services, "migrate", "-v", "0")
        CURRENT.manage(services, "migrate", "-v", "0")
        CURRENT.run(services, str(ROOT / "harness/accounts.py"), str(ACCOUNTS))
        servers = {
            name: stack.enter_context(release.server(services))
            for name, release in releases.items()
        }

        yield Deploy(services, servers, releases, stack)


each_release = pytest.mark.parametrize("release", ["previous", "current"])


@each_release
def test_a_notification_of_either_release_arrives_in_the_tabs_of_both(
    deploy: Deploy, release: str
) -> None:
    deploy.act(release, "notify", "1", "From one")
    frame = deploy.received("hello")

    assert frame["content"] == {"body": "From one", "meta_data": {"by": "a release"}}
    assert frame["url"] == "/here/"


@each_release
def test_a_notification_to_many_arrives_in_the_tabs_of_both(deploy: Deploy, release: str) -> None:
    deploy.act(release, "notify_many", "To many")

    assert deploy.received("hello")["content"]["body"] == "To many"
    for tab in deploy.others:
        assert tab.receive("hello")["content"]["body"] == "To many"


@each_release
def test_a_frame_without_a_number_arrives_in_the_tabs_of_both(deploy: Deploy, release: str) -> None:
    deploy.act(release, "push", "1", "Half done")

    assert deploy.received("progress")["content"]["body"] == "Half done"


@each_release
def test_a_broadcast_arrives_and_is_taken_back_in_the_tabs_of_both(
    deploy: Deploy, release: str
) -> None:
    deploy.act(release, "tell_all", f"To all, {release}")
    frame = deploy.received("news")
    deploy.act(other(release), "take_back", f"To all, {release}")
    state = deploy.received("state")

    assert frame["content"]["body"] == f"To all, {release}"
    assert (state["as"], state["ids"]) == ("gone", [frame["id"]])


@each_release
def test_what_one_release_replaces_the_other_had_sent(deploy: Deploy, release: str) -> None:
    deploy.act(other(release), "replace", "1", "Old")
    old = deploy.received("hello")
    deploy.act(release, "replace", "1", "New")
    new = deploy.received("hello")

    assert new["replaces"] == old["id"]


@each_release
def test_a_mark_and_its_undo_arrive_in_the_tabs_of_both(deploy: Deploy, release: str) -> None:
    deploy.act(other(release), "notify", "1", "To mark")
    wire_id = deploy.received("hello")["id"]

    marked = deploy.post(release, "mark/", {"ids": [wire_id], "as": "archived"})
    state = deploy.received("state")
    assert (state["as"], state["ids"]) == ("archived", [wire_id])

    deploy.post(other(release), "mark/", {"undo": marked["range"]})
    state = deploy.received("state")
    assert (state["as"], state["ids"]) == ("unread", [wire_id])


@each_release
def test_a_notification_is_taken_back_in_the_tabs_of_both(deploy: Deploy, release: str) -> None:
    deploy.act(other(release), "notify", "1", f"Wrong, {release}")
    wire_id = deploy.received("hello")["id"]
    deploy.act(release, "take_back", f"Wrong, {release}")

    state = deploy.received("state")
    assert (state["as"], state["ids"]) == ("gone", [wire_id])


@each_release
def test_what_a_release_took_back_before_it_crashed_is_removed_by_its_maintenance(
    deploy: Deploy, release: str
) -> None:
    body = f"Left over, {release}"
    deploy.act(other(release), "notify", "1", body)
    wire_ids = [deploy.received("hello")["id"]]
    deploy.act(other(release), "tell_all", body)
    wire_ids.append(deploy.received("news")["id"])
    deploy.act(release, "take_back_and_crash", body)

    # What the other release does about it beside that one harms nothing.
    for name in (other(release), release):
        deploy.maintain(name)

    states = [deploy.received("state") for _ in wire_ids]
    assert [(state["as"], state["ids"]) for state in states] == [
        ("gone", [wire_id]) for wire_id in wire_ids
    ]


def test_what_both_releases_took_back_is_removed_once(deploy: Deploy) -> None:
    deploy.act("previous", "notify", "1", "Twice")
    wire_id = deploy.received("hello")["id"]
    deploy.act("current", "take_back_and_crash", "Twice")
    deploy.act("previous", "take_back", "Twice")
    state = deploy.received("state")
    assert state["ids"] == [wire_id]

    deploy.maintain("current")

    deploy.act("current", "notify", "1", "The next")
    assert deploy.received("hello")["seq"] == state["seq"] + 1  # it was not removed again


@each_release
def test_a_tab_that_changes_the_release_catches_up(deploy: Deploy, release: str) -> None:
    deploy.act(release, "notify", "1", "Before")
    frame = deploy.received("hello")
    deploy.act(release, "notify", "1", "Missed")
    deploy.received("hello")

    server = deploy.servers[other(release)]
    latest = json.loads(
        send_request(
            server.port, session_key(1), "GET", "/notifications/items/", timeout=TIMEOUT_SECONDS
        )[1]
    )
    position = {
        "seq": frame["seq"],
        **{name: latest[name] for name in ("broadcast_seq", "epoch", "scope")},
    }
    with connect(**connect_arguments(server.url, cookie(session_key(1)), position)) as connection:
        tab = OpenTab(connection)
        assert "resync" not in tab.receive("register")
        assert tab.receive("hello")["content"]["body"] == "Missed"


@each_release
def test_a_logout_closes_the_tabs_of_both(deploy: Deploy, release: str) -> None:
    account = 3 if release == "previous" else 4
    tabs = [deploy.open_tab(account, server) for server in deploy.servers.values()]
    deploy.act(release, "log_out", session_key(account))

    assert [tab.closed_with() for tab in tabs] == [CloseCode.NOT_LOGGED_IN] * 2


def other(release: str) -> str:
    return "current" if release == "previous" else "previous"
