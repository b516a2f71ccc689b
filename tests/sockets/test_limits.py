"""Limits of a client, an account and a worker, and input that no browser sends."""

from __future__ import annotations

import asyncio
import logging

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator

from notifications.hub import consumer
from notifications.hub.hub import get_hub
from notifications.models import Connection
from notifications.root_path import socket_path
from notifications.routing import websocket_application
from notifications.servers import detect
from notifications.servers.base import Treatment
from notifications.sessions import authentication
from notifications.testing import TIMEOUT_SECONDS, log_in

HEARTBEAT = '{"type":"heartbeat"}'


async def send(tab, text, times):
    for _ in range(times):
        await tab.send_input({"type": "websocket.receive", "text": text})


@pytest.mark.realtime
async def test_a_client_that_sends_too_fast_gets_one_error_and_is_answered_again_once_it_slows_down(
    connect, alice, settings
):
    settings.NOTIFICATIONS_MAX_FRAMES_PER_SECOND = 50
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    await send(tab, HEARTBEAT, 600)

    answers = [await tab.receive_frame()]
    while answers[-1]["type"] == "heartbeat":
        answers.append(await tab.receive_frame())
    assert len(answers) > 500
    assert answers[-1]["code"] == "rate_limited"
    assert "50 a second" in answers[-1]["content"]["body"]
    refused = []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not refused or refused[-1]["type"] != "heartbeat":
            await send(tab, HEARTBEAT, 1)
            frame = None if await tab.receive_nothing(0.1) else await tab.receive_json_from()
            if frame and frame["type"] != "ping":
                refused.append(frame)
    assert len(refused) < 10  # of 100: most got no answer


async def test_a_flooding_client_is_cut_off_and_logged_once(connect, alice, settings, caplog):
    settings.NOTIFICATIONS_MAX_FRAMES_PER_SECOND = 5
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    with caplog.at_level(logging.WARNING, "notifications"):
        await send(tab, HEARTBEAT, 1000)

        assert (await tab.receive("bye"))["code"] == 4429
        assert await tab.closed_with() == 4429
        assert await tab.receive_nothing()
    records = [record for record in caplog.records if record.name == "notifications.hub.consumer"]
    assert [record.getMessage() for record in records] == [
        f"Disconnected a client of account {alice.pk}: TOO_FAST"
    ]
    assert str(alice.pk) not in get_hub()._accounts


async def test_a_client_that_floods_before_it_has_joined_is_not_counted(
    connect, alice, settings, monkeypatch
):
    """Servers count frames that ASGI does not report, also while the hub has not opened yet."""
    settings.NOTIFICATIONS_MAX_FRAMES_PER_SECOND = 5
    counters = []

    def open_writer(send, counter):
        counters.append(counter)
        return detect.open_writer(send, counter)

    monkeypatch.setattr(consumer, "open_writer", open_writer)
    hub = get_hub()
    await hub._opened
    hub._opened = asyncio.get_running_loop().create_future()
    tab = await connect(alice)
    while not counters:
        await asyncio.sleep(0)

    while counters[0].count_frame() is not Treatment.STOP:
        pass
    assert await tab.closed_with() == 4429
    hub._opened.set_result(None)
    await tab.send_input({"type": "websocket.disconnect", "code": 1006})
    await tab.wait()

    assert str(alice.pk) not in hub._accounts


async def test_abuse_is_logged_once_without_the_frames(connect, alice, caplog):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    with caplog.at_level(logging.DEBUG, "notifications"):
        await send(tab, '{"type": "secret words"}', 60)

        assert await tab.closed_with() == 4400
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


async def test_a_frame_longer_than_allowed_is_refused(connect, alice, settings):
    settings.NOTIFICATIONS_MAX_FRAME_SIZE = 100
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    await send(tab, '{"type": "heartbeat", "x": "%s"}' % ("x" * 100), 1)
    await send(tab, '{"type": "heartbeat", "x": "%s"}' % ("x" * 60), 1)

    error = await tab.receive_frame()
    assert (error["type"], error["code"]) == ("error", "bad_frame")
    assert "100 bytes" in error["content"]["body"]
    assert (await tab.receive_frame())["type"] == "heartbeat"


async def test_an_accounts_newest_connections_stay_open(connect, alice, bob, settings):
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_ACCOUNT = 2
    tabs = []
    for account in (alice, bob, alice, alice, alice):
        tabs.append(await connect(account))
        await tabs[-1].receive_until_caught_up()

    assert [await tabs[n].closed_with() for n in (0, 2)] == [4409, 4409]
    for n in (1, 3, 4):
        await send(tabs[n], HEARTBEAT, 1)
        assert (await tabs[n].receive("heartbeat"))["unread"] == 0


async def test_a_full_worker_refuses_new_connections_until_one_closes(
    connect, alice, bob, settings
):
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_WORKER = 1
    first = await connect(alice)
    await first.receive_until_caught_up()

    second = await connect(bob)

    bye = await second.receive("bye")
    assert (bye["code"], bye["reconnect"]) == (4503, True)
    assert 5 <= bye["delay"] <= 15
    assert await second.closed_with() == 4503
    await first.disconnect()
    await first.wait()
    third = await connect(bob)
    assert await third.receive("register")


async def test_an_anonymous_visitor_takes_no_query_and_no_capacity(connect, settings, monkeypatch):
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_WORKER = 0
    authenticated = []
    monkeypatch.setattr(get_hub(), "authenticate", authenticated.append)

    tabs = [await connect(None) for _ in range(20)]

    assert [await tab.closed_with() for tab in tabs] == [4401] * 20
    assert authenticated == []


async def test_a_flood_of_forged_sessions_takes_few_queries(connect, alice, monkeypatch):
    batches = []

    def authenticate(requests):
        batches.append(len(requests))
        return authentication.authenticate(requests)

    monkeypatch.setattr(get_hub().authenticate, "_function", authenticate)
    forged = [connect(session=f"{n:032}") for n in range(200)]

    tabs = await asyncio.gather(*forged)

    assert {await tab.closed_with() for tab in tabs} == {4401}
    assert sum(batches) == 200
    assert len(batches) < 50


def handshake(session, query="", headers=(), client="127.0.0.1"):
    cookie = (b"cookie", f"sessionid={session}".encode())
    origin = [(b"host", b"testserver"), (b"origin", b"http://testserver")]
    tab = WebsocketCommunicator(
        websocket_application, f"{socket_path()}{query}", [*origin, cookie, *headers]
    )
    tab.scope["client"] = [client, 1]
    return tab


@pytest.mark.parametrize(
    "query",
    [
        "?" + "&".join(f"x{n}=1" for n in range(5000)),
        "?seq=" + "9" * 5000,
        "?seq=%FF%FE&epoch=%00",
        "?seq=-1&broadcast_seq=1e9&epoch=NaN&scope=" + "x" * 5000,
        "?%zz=%&&&=&seq",
        "?seq[]=1&seq=1&seq=2",
    ],
)
async def test_any_query_string_is_accepted(transactional_db, alice, query):
    tab = handshake(await sync_to_async(log_in)(alice), query)

    accepted, _ = await tab.connect(TIMEOUT_SECONDS)

    assert accepted
    assert (await tab.receive_json_from(TIMEOUT_SECONDS))["type"] == "register"
    (connection,) = get_hub()._accounts[str(alice.pk)]
    assert len(connection._start.scope if connection._start else "") <= 64
    await tab.disconnect()


@pytest.mark.parametrize(
    ("client", "kept"),
    [
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", None),
        ("unknown", None),
        ("'; DROP TABLE", None),
        ("999.1.1.1", None),
        ("", None),
        ("10.0.0.1" + "0" * 500, None),
    ],
)
async def test_invalid_client_data_from_a_proxy_does_not_break_presence(
    transactional_db, alice, client, kept
):
    # On PostgreSQL an invalid address or a NUL in a text fails a worker's whole batch.
    agent = (b"user-agent", b"Mozilla\x00\x1b[31m/5.0 \xff")
    tab = handshake(await sync_to_async(log_in)(alice), headers=[agent], client=client)

    await tab.connect(TIMEOUT_SECONDS)

    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not (row := await Connection.objects.afirst()):
            await asyncio.sleep(0.02)
    assert (row.address, row.user_agent) == (kept, "Mozilla[31m/5.0 ÿ")
    await tab.disconnect()


COOKIES = [
    b"sessionid=\xff\xfe",
    b'sessionid="\\000\\377"',
    b"sessionid=" + b"x" * 60_000,
    b"; ".join(b"c%d=1" % n for n in range(5000)),
    b"=;=;;;sessionid;=sessionid",
    b"sessionid=\xed\xa0\x80",
]


@pytest.mark.parametrize("cookie", COOKIES)
async def test_a_client_with_an_invalid_cookie_is_asked_to_log_in(transactional_db, cookie):
    tab = WebsocketCommunicator(
        websocket_application,
        socket_path(),
        [(b"host", b"testserver"), (b"origin", b"http://testserver"), (b"cookie", cookie)],
    )

    accepted, _ = await tab.connect(TIMEOUT_SECONDS)

    assert accepted
    assert (await tab.receive_json_from(TIMEOUT_SECONDS))["code"] == 4401
    await tab.disconnect()
