"""Channels' consumers in one process: what each costs, and what they leave behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings as django_settings
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session

from notifications.hub.hub import get_hub
from notifications.routing import websocket_application as ours
from notifications.testing import Tab, log_in, open_tabs
from tests.traps.asgi import application as plain

SOCKETS = 20


class PlainTab(WebsocketCommunicator):
    def __init__(self, session: str) -> None:
        cookie = f"{django_settings.SESSION_COOKIE_NAME}={session}".encode()
        headers = [(b"host", b"testserver"), (b"origin", b"http://localhost"), (b"cookie", cookie)]
        super().__init__(plain, "/ws/plain/", headers)


@pytest.fixture
async def connect_plain(transactional_db: None) -> AsyncIterator[Callable[..., Any]]:
    tabs: list[PlainTab] = []

    async def connect(account: Any) -> PlainTab:
        tab = PlainTab(await sync_to_async(log_in)(account))
        tabs.append(tab)
        accepted, _ = await tab.connect()
        assert accepted
        assert (await tab.receive_json_from())["type"] == "register"
        return tab

    yield connect
    for tab in tabs:
        if not tab.future.done():
            await tab.disconnect()


@pytest.fixture
async def connect(transactional_db: None) -> AsyncIterator[Callable[..., Any]]:
    async with open_tabs(ours) as connect:
        yield connect


async def heartbeat_takes(tab: Any) -> float:
    """Return how many seconds a heartbeat waits for while another's query takes 1.5."""
    querying = asyncio.create_task(database_sync_to_async(time.sleep)(1.5))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await tab.send_json_to({"type": "heartbeat"})
    while (await tab.receive_json_from(timeout=5))["type"] != "heartbeat":
        pass
    took = time.monotonic() - started
    await querying
    return took


async def test_one_slow_query_delays_the_heartbeats_of_all(connect_plain, connect, alice) -> None:
    assert await heartbeat_takes(await connect_plain(alice)) > 1

    tab = await connect(alice)
    await tab.receive_until_caught_up()
    assert await heartbeat_takes(tab) < 0.7


async def test_an_idle_socket_keeps_tasks(connect_plain, connect, alice) -> None:
    async def tasks_per_socket(connect: Any, settle: Any) -> float:
        await settle(await connect(alice))  # what is there once
        before = len(asyncio.all_tasks())
        for _ in range(SOCKETS):
            await settle(await connect(alice))
        idle = before + 10 * SOCKETS
        for _ in range(20):  # the hub's own come and go
            idle = min(idle, len(asyncio.all_tasks()))
            await asyncio.sleep(0.02)
        return (idle - before) / SOCKETS

    async def registered(tab: Any) -> None:
        await asyncio.sleep(0)

    # One of each is the communicator's, that runs the application.
    assert await tasks_per_socket(connect_plain, registered) >= 3
    assert await tasks_per_socket(connect, lambda tab: tab.receive_until_caught_up()) <= 1


async def test_a_consumer_that_fails_does_not_leave_its_groups(
    connect_plain, connect, alice
) -> None:
    tab = await connect_plain(alice)
    await tab.send_to(text_data="not json")
    with pytest.raises(ValueError):
        await tab.receive_nothing()
        await tab.future
    assert get_channel_layer().groups["everyone"]

    # Not by `connect`, which would go on using it.
    tab = Tab(ours, await sync_to_async(log_in)(alice))
    await tab.connect()
    await tab.receive_until_caught_up()
    assert get_hub()._connections
    tab.future.cancel()
    await asyncio.wait([tab.future])
    assert not get_hub()._connections and not get_hub()._accounts


async def test_cancelled_consumers_stay_in_their_groups(
    connect_plain, connect, alice, settings, redis
) -> None:
    """As Daphne cancels them when a browser has gone without a close."""
    backend = f"{RedisPubSubChannelLayer.__module__}.RedisPubSubChannelLayer"
    hosts = [{"address": redis.url, "socket_timeout": None}]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": hosts}}}
    layer = get_channel_layer()
    tabs = [await connect_plain(alice) for _ in range(SOCKETS)]
    for tab in tabs:
        tab.future.cancel()
    await asyncio.wait([tab.future for tab in tabs])
    assert [len(members) for members in layer.groups.values()] == [SOCKETS, SOCKETS]
    for shard in layer._shards:
        await shard.flush()


async def test_a_rotated_key_costs_a_visitor_the_session(connect, alice, settings) -> None:
    session = await sync_to_async(log_in)(alice)
    other = await sync_to_async(log_in)(alice)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10

    store = SessionStore(session)
    assert (await get_user({"session": store})).is_anonymous
    assert not await Session.objects.filter(session_key=session).aexists()

    tab = await connect(session=other)
    assert await tab.receive("register")
    assert await Session.objects.filter(session_key=other).aexists()


def test_a_logout_is_told_while_the_session_is_still_there(client, alice) -> None:
    """So a hub that is told of one remembers it, instead of looking."""
    found = []

    def look(request: Any, **kwargs: Any) -> None:
        found.append(Session.objects.filter(session_key=request.session.session_key).exists())

    user_logged_out.connect(look)
    try:
        client.force_login(alice)
        client.post("/logout/")
    finally:
        user_logged_out.disconnect(look)

    assert found == [True]
    assert not Session.objects.exists()
