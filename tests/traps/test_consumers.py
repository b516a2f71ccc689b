"""Channels' consumers in one process: their cost, and what they leave behind."""

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

CONNECTIONS = 20


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


async def heartbeat_seconds(tab: Any) -> float:
    """Return the seconds that a heartbeat waits while another consumer's query takes 1.5."""
    querying = asyncio.create_task(database_sync_to_async(time.sleep)(1.5))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await tab.send_json_to({"type": "heartbeat"})
    while (await tab.receive_json_from(timeout=5))["type"] != "heartbeat":
        pass
    took = time.monotonic() - started
    await querying
    return took


async def test_one_slow_query_delays_all_heartbeats(connect_plain, connect, alice) -> None:
    assert await heartbeat_seconds(await connect_plain(alice)) > 1

    tab = await connect(alice)
    await tab.receive_until_caught_up()
    assert await heartbeat_seconds(tab) < 0.7


async def test_an_idle_connection_keeps_tasks(connect_plain, connect, alice) -> None:
    async def tasks_per_connection(connect: Any, settle: Any) -> float:
        await settle(await connect(alice))  # creates what is shared
        before = len(asyncio.all_tasks())
        for _ in range(CONNECTIONS):
            await settle(await connect(alice))
        idle = before + 10 * CONNECTIONS
        for _ in range(20):  # the hub's own tasks come and go
            idle = min(idle, len(asyncio.all_tasks()))
            await asyncio.sleep(0.02)
        return (idle - before) / CONNECTIONS

    async def registered(tab: Any) -> None:
        await asyncio.sleep(0)

    # The communicator has one task per connection, which runs the application.
    assert await tasks_per_connection(connect_plain, registered) >= 3
    assert await tasks_per_connection(connect, lambda tab: tab.receive_until_caught_up()) <= 1


async def test_a_failed_consumer_stays_in_its_groups(connect_plain, connect, alice) -> None:
    tab = await connect_plain(alice)
    await tab.send_to(text_data="not json")
    with pytest.raises(ValueError):
        await tab.receive_nothing()
        await tab.future
    assert get_channel_layer().groups["everyone"]

    # Without `connect`, which would use the tab again.
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
    """Daphne cancels them when a browser disappears without a close."""
    backend = f"{RedisPubSubChannelLayer.__module__}.RedisPubSubChannelLayer"
    hosts = [{"address": redis.url, "socket_timeout": None}]
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": hosts}}}
    layer = get_channel_layer()
    tabs = [await connect_plain(alice) for _ in range(CONNECTIONS)]
    for tab in tabs:
        tab.future.cancel()
    await asyncio.wait([tab.future for tab in tabs])
    assert [len(members) for members in layer.groups.values()] == [CONNECTIONS, CONNECTIONS]
    for shard in layer._shards:
        await shard.flush()


async def test_a_rotated_key_deletes_the_session(connect, alice, settings) -> None:
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


def test_the_logout_signal_comes_before_the_session_is_deleted(client, alice) -> None:
    """So our hubs remember a logout instead of looking for the session."""
    found = []

    def check_session(request: Any, **kwargs: Any) -> None:
        found.append(Session.objects.filter(session_key=request.session.session_key).exists())

    user_logged_out.connect(check_session)
    try:
        client.force_login(alice)
        client.post("/logout/")
    finally:
        user_logged_out.disconnect(check_session)

    assert found == [True]
    assert not Session.objects.exists()
