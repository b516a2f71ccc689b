"""The list of open connections in the admin, and closing them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from notifications.admin.connections import browser_name
from notifications.channel_layer import hub_commands
from notifications.models import Connection, Worker
from notifications.protocol import CloseCode

from .pages import CHROME, CONNECTIONS, row, text


def test_open_connections_are_listed_with_account_and_browser(
    admin: Client, alice: User, connect: Callable[..., Connection]
) -> None:
    connect(alice, last_seen=timezone.now() - timedelta(minutes=3))

    shown = row(admin.get(CONNECTIONS).content.decode())

    assert shown["account_name"] == "alice"
    assert shown["seen"].replace("\xa0", " ") == "3 minutes ago"
    assert shown["browser"] == "Chrome 139, Linux"
    assert shown["address"] == "192.0.2.7"
    assert shown["worker"] == "web-1:4711"


def test_a_connection_seen_within_a_minute_shows_just_now(
    admin: Client, alice: User, connect: Callable[..., Connection]
) -> None:
    connect(alice, last_seen=timezone.now() - timedelta(seconds=50))

    assert row(admin.get(CONNECTIONS).content.decode())["seen"] == "just now"


def test_connections_of_dead_workers_are_not_listed(
    admin: Client, alice: User, connect: Callable[..., Connection]
) -> None:
    connect(alice)
    Worker.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    assert "0 connections" in text(admin.get(CONNECTIONS))


def test_connections_can_be_searched_and_filtered(
    admin: Client, alice: User, bob: User, worker: Worker, connect: Callable[..., Connection]
) -> None:
    other = Worker.objects.create(host="web-2", pid=1, lease_until=worker.lease_until)
    connect(alice)
    connect(bob, worker=other)

    assert row(admin.get(f"{CONNECTIONS}?q=bob").content.decode())["account_name"] == "bob"
    page = admin.get(f"{CONNECTIONS}?worker__id__exact={worker.pk}").content.decode()
    assert row(page)["account_name"] == "alice"
    assert "1 connection" in text(admin.get(f"{CONNECTIONS}?worker__id__exact={worker.pk}"))


def test_the_connection_of_a_deleted_account_is_listed(
    admin: Client, alice: User, connect: Callable[..., Connection]
) -> None:
    orphan = connect(alice)
    pk = alice.pk
    alice.delete()

    shown = row(admin.get(f"{CONNECTIONS}?o=1").content.decode())

    assert shown["account_name"] == f"deleted account {pk}"
    assert admin.get(f"{CONNECTIONS}{orphan.pk}/change/").status_code == 200


def test_more_connections_take_no_more_queries(
    admin: Client,
    make_account: Callable[..., User],
    connect: Callable[..., Connection],
    count_queries: Callable[..., int],
) -> None:
    connect(make_account("member"))
    few = count_queries(lambda: admin.get(CONNECTIONS))
    for number in range(5):
        connect(make_account(f"member{number}"))
    assert count_queries(lambda: admin.get(CONNECTIONS)) == few


def test_disconnecting_asks_the_hubs_to_close_the_selected_connections(
    admin: Client,
    alice: User,
    bob: User,
    connect: Callable[..., Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[tuple[set[uuid.UUID], CloseCode]] = []
    monkeypatch.setattr(
        hub_commands, "close_connections", lambda keys, code: closed.append((set(keys), code))
    )
    first, second, _ = connect(alice), connect(alice), connect(bob)

    answer = admin.post(
        CONNECTIONS,
        {"action": "disconnect", "_selected_action": [first.pk, second.pk], "index": "0"},
        follow=True,
    )

    assert closed == [({first.pk, second.pk}, CloseCode.RESTART)]
    assert "2 connections closed. The tabs will reconnect." in text(answer)


def test_disconnecting_needs_the_permission_to_delete_connections(
    staff: Callable[..., Client],
    alice: User,
    connect: Callable[..., Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_commands, "close_connections", lambda *args: pytest.fail("closed"))
    tab = connect(alice)
    browser = staff("view_connection", "change_connection")

    browser.post(CONNECTIONS, {"action": "disconnect", "_selected_action": [tab.pk]})

    assert "disconnect" not in browser.get(CONNECTIONS).content.decode()


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [
        (CHROME, "Chrome 139, Linux"),
        (f"{CHROME} Edg/138.0.1", "Edge 138, Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Firefox 128, Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari 18, iPhone",
        ),
        ("Python/3.11 websockets/17.4", "Python/3.11 websockets/17.4"),
        ("x" * 200, "x" * 39 + "…"),
        ("", ""),
    ],
)
def test_a_browser_is_shown_by_its_name(user_agent: str, shown: str) -> None:
    assert browser_name(user_agent) == shown
