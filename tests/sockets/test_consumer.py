"""One connection: its admission, its frames, its end."""

from __future__ import annotations

import inspect
import json

import pytest
from asgiref.sync import sync_to_async
from channels.consumer import AsyncConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.models import Session
from django.urls import path as route

from notifications import protocol
from notifications.hub.consumer import NotificationConsumer
from notifications.root_path import socket_path, socket_route
from notifications.routing import WebSocketRouter, websocket_application
from notifications.testing import TIMEOUT_SECONDS, Tab, log_in


async def test_an_anonymous_visitor_is_asked_to_log_in(connect):
    tab = await connect(None)

    assert (await tab.receive("bye"))["code"] == 4401
    assert await tab.closed_with() == 4401


async def test_a_client_with_a_forged_session_is_asked_to_log_in(connect):
    tab = await connect(session="0123456789abcdefghijklmnopqrstuv")

    assert await tab.closed_with() == 4401


async def test_a_deactivated_account_gets_its_own_close_code(connect, alice):
    session = await sync_to_async(log_in)(alice)
    alice.is_active = False
    await alice.asave()

    tab = await connect(session=session)

    assert await tab.closed_with() == 4403


async def test_a_session_older_than_a_password_change_must_log_in_again(connect, alice):
    session = await sync_to_async(log_in)(alice)
    alice.set_password("another")
    await alice.asave()

    tab = await connect(session=session)

    assert await tab.closed_with() == 4401


async def test_a_rotated_secret_key_leaves_the_session_valid_and_unchanged(
    connect, alice, settings
):
    session = await sync_to_async(log_in)(alice)
    before = await Session.objects.values_list("session_data", flat=True).aget()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10

    tab = await connect(session=session)

    assert (await tab.receive("register"))["v"] == 1
    assert await Session.objects.values_list("session_data", flat=True).aget() == before


async def test_a_page_of_the_previous_account_in_the_same_browser_is_refused(
    transactional_db, alice, bob
):
    session = await sync_to_async(log_in)(alice)
    old = Tab(websocket_application, session, account=bob.pk)
    assert await old.connect(TIMEOUT_SECONDS) == (True, None)

    assert (await old.receive("bye"))["code"] == 4401
    assert await old.closed_with() == 4401

    own = Tab(websocket_application, session, account=alice.pk)
    await own.connect(TIMEOUT_SECONDS)
    assert await own.receive("register")
    await own.disconnect()


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://testserver",
        "http://testserver:8000",
        "ftp://testserver",
        "chrome-extension://testserver",
        "null",
        "",
    ],
)
async def test_a_page_of_another_site_is_refused(transactional_db, alice, origin):
    session = await sync_to_async(log_in)(alice)
    tab = Tab(websocket_application, session, origin=origin)

    accepted, _ = await tab.connect(TIMEOUT_SECONDS)

    assert not accepted
    await tab.disconnect()


async def test_a_handshake_without_origin_is_refused(transactional_db, alice):
    tab = WebsocketCommunicator(websocket_application, socket_path(), [(b"host", b"testserver")])

    accepted, _ = await tab.connect(TIMEOUT_SECONDS)

    assert not accepted
    await tab.disconnect()


async def test_a_trusted_origin_may_connect(connect, alice, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://www.example.com"]

    tab = await connect(alice, origin="https://www.example.com")

    assert await tab.receive("register")


@pytest.mark.parametrize("path", ["/ws/notifications/", "/shop/ws/notifications/"])
@pytest.mark.parametrize("root_path", ["/shop", ""])
async def test_the_path_may_have_the_root_path_of_the_site(
    transactional_db, alice, settings, path, root_path
):
    """From the server if not from the settings."""
    settings.NOTIFICATIONS_ROOT_PATH = "" if root_path else "/shop"
    tab = Tab(websocket_application, await sync_to_async(log_in)(alice))
    tab.scope.update(path=path, root_path=root_path)

    assert await tab.connect(TIMEOUT_SECONDS) == (True, None)
    assert await tab.receive("register")
    await tab.disconnect()


@pytest.mark.parametrize("path", ["/live/", "/shop/live/"])
@pytest.mark.parametrize("setting", ["/live/", "/shop/live/", "live/"])
@pytest.mark.parametrize("named_by", ["server", "NOTIFICATIONS_ROOT_PATH", "FORCE_SCRIPT_NAME"])
async def test_the_path_may_be_a_setting(
    transactional_db, alice, settings, path, setting, named_by
):
    """With the root path or without it, whether the setting or the proxy has it."""
    settings.NOTIFICATIONS_SOCKET_PATH = setting
    if named_by != "server":
        setattr(settings, named_by, "/shop")
    router = WebSocketRouter([route(socket_route(), NotificationConsumer.as_asgi())])
    tab = Tab(router, await sync_to_async(log_in)(alice))
    tab.scope.update(path=path, root_path="/shop" if named_by == "server" else "")

    assert await tab.connect(TIMEOUT_SECONDS) == (True, None)
    assert await tab.receive("register")
    await tab.disconnect()


async def test_a_connection_to_another_path_is_refused(transactional_db):
    tab = WebsocketCommunicator(websocket_application, "/ws/elsewhere/")

    accepted, _ = await tab.connect(TIMEOUT_SECONDS)

    assert not accepted
    await tab.disconnect()


async def test_no_method_of_channels_consumers_is_used(connect, alice, monkeypatch):
    """They may change with any release; ASGI does not."""

    async def fail(*args, **kwargs):
        raise AssertionError("a method of channels was called")

    for base in (AsyncConsumer, AsyncWebsocketConsumer, AsyncJsonWebsocketConsumer):
        for name, method in [*vars(base).items()]:
            if inspect.iscoroutinefunction(method):
                monkeypatch.setattr(base, name, fail)

    assert await (await connect(None)).closed_with() == 4401
    tab = await connect(alice)
    assert await tab.receive("register")
    await tab.send_to(text_data='{"type":"heartbeat"}')
    assert await tab.receive("heartbeat")
    foreign = Tab(websocket_application, origin="http://evil.example")
    assert await foreign.connect(TIMEOUT_SECONDS) == (False, 1000)


async def test_register_comes_first_and_the_counts_follow(connect, alice, settings):
    tab = await connect(alice)

    register, counts = await tab.receive_until_caught_up()

    assert register["type"] == "register"
    assert register["content"] == {"body": "", "meta_data": ""}
    assert (register["v"], register["seq"], register["broadcast_seq"]) == (1, 0, 0)
    assert register["heartbeat"] == {
        "interval": settings.NOTIFICATIONS_HEARTBEAT_INTERVAL,
        "timeout": settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT,
    }
    assert (counts["unread"], counts["unread_broadcasts"]) == (0, 0)


async def test_a_heartbeat_is_answered_as_in_protocol_v1(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    await tab.send_to(text_data='{"type":"heartbeat"}')

    answer = await tab.receive_frame()
    assert answer["type"] == "heartbeat"
    assert answer["content"] == {"body": "", "meta_data": ""}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", "bad_json"),
        ("", "bad_json"),
        ("{", "bad_json"),
        ("[" * 4000, "bad_json"),
        ("1" * 4000 + "0" * 96, "bad_frame"),
        ("1" * 4097, "bad_frame"),
        ("[]", "bad_frame"),
        ("null", "bad_frame"),
        ("NaN", "bad_frame"),
        ("{}", "bad_field"),
        ('{"type": 1}', "bad_field"),
        ('{"type": ["heartbeat"]}', "bad_field"),
        ('{"type": "order_paid"}', "bad_type"),
        ('{"type": "websocket.disconnect"}', "bad_type"),
        ('{"type": "\\ud800"}', "bad_type"),
    ],
)
async def test_a_malformed_frame_is_answered_and_the_connection_stays_open(
    connect, alice, text, code
):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    await tab.send_input({"type": "websocket.receive", "text": text})
    await tab.send_to(text_data='{"type":"heartbeat"}')

    error = await tab.receive_frame()
    assert (error["type"], error["code"]) == ("error", code)
    assert error["content"]["body"]
    assert (await tab.receive_frame())["type"] == "heartbeat"


async def test_a_binary_frame_is_answered_and_the_connection_stays_open(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    await tab.send_to(bytes_data=b'{"type":"heartbeat"}')
    await tab.send_to(text_data='{"type":"heartbeat"}')

    assert (await tab.receive_frame())["code"] == "bad_frame"
    assert (await tab.receive_frame())["type"] == "heartbeat"


async def test_twenty_errors_in_a_row_close_the_connection(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    for _ in range(protocol.MAX_ERRORS_IN_A_ROW):
        await tab.send_to(text_data="nonsense")

    assert await tab.closed_with() == 4400


async def test_a_heartbeat_resets_the_count_of_errors(connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    for _ in range(3):
        for _ in range(protocol.MAX_ERRORS_IN_A_ROW - 1):
            await tab.send_to(text_data="nonsense")
        await tab.send_to(text_data=json.dumps({"type": "heartbeat"}))
        await tab.receive("heartbeat")
