"""The hub with each channel layer that a site may choose, and a real Redis."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from harness.services import redis_server
from notifications import adapters, anotify_accounts, broadcast, protocol
from notifications.channel_layer import taps
from notifications.hub.hub import stop_hub

REDIS_LAYERS = [
    "channels_redis.pubsub.RedisPubSubChannelLayer",
    "channels_redis.core.RedisChannelLayer",
    "tests.sockets.layers.SealingPubSubLayer",
    "tests.sockets.layers.SealingCoreLayer",
    "untested channels_redis.pubsub.RedisPubSubChannelLayer",
    "untested channels_redis.core.RedisChannelLayer",
]
OTHER_LAYERS = [
    "channels.layers.InMemoryChannelLayer",
    "untested channels.layers.InMemoryChannelLayer",
    "tests.sockets.layers.OwnLayer",
    "tests.sockets.layers.FailingLayer",
    "tests.sockets.layers.SealingInMemoryLayer",
]


@pytest.fixture(scope="module")
def redis():
    with redis_server() as server:
        yield server


@pytest.fixture
def slow_check(settings):
    """Only a live update can arrive: the check comes too late."""
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 3600
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 7200


@pytest.fixture
def use(settings, monkeypatch):
    """Return a function that sets the layer; the prefix "untested" pretends an untested version."""

    def use(name, **config):
        untested, _, backend = name.rpartition(" ")
        if untested:
            newer = {"channels": "4.30", "channels_redis": "4.30"}
            monkeypatch.setattr(adapters, "installed_version", newer.get)
        for adapter in taps.ADAPTERS.values():
            monkeypatch.setattr(adapter, "_reason", None)
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
        return get_channel_layer()

    return use


@pytest.fixture(params=REDIS_LAYERS)
def redis_layer(request, use, redis, slow_check, transactional_db):
    return use(request.param, hosts=[{"address": redis.url, "socket_timeout": None}])


@pytest.fixture(params=[*REDIS_LAYERS, *OTHER_LAYERS])
def layer(request, use, redis, slow_check, transactional_db):
    if request.param in REDIS_LAYERS:
        return use(request.param, hosts=[{"address": redis.url, "socket_timeout": None}])
    return use(request.param)


async def test_live_updates_broadcasts_and_frames_of_other_code_arrive(layer, connect, alice, bob):
    tab, bobs_tab = await connect(alice), await connect(bob)
    await tab.receive_until_caught_up()
    await bobs_tab.receive_until_caught_up()
    frame = {"type": "progress", "content": {"body": "50 %", "meta_data": ""}}

    await anotify_accounts(alice, "hello", "for alice")
    await sync_to_async(broadcast)("news", "for everyone")
    await layer.group_send(f"account_{alice.pk}", protocol.account_message(frame))

    got = {(await tab.receive_frame())["type"] for _ in range(3)}
    assert got == {"hello", "news", "progress"}
    assert (await bobs_tab.receive_frame())["type"] == "news"
    assert await bobs_tab.receive_nothing()


async def test_many_live_updates_arrive_in_order(layer, connect, alice):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    async with asyncio.TaskGroup() as tasks:
        for number in range(50):
            tasks.create_task(anotify_accounts(alice, "hello", str(number)))

    frames = [await tab.receive("hello") for _ in range(50)]
    assert [frame["seq"] for frame in frames] == list(range(1, 51))


async def test_a_tab_opened_after_the_last_one_closed_gets_live_updates(layer, connect, alice):
    first = await connect(alice)
    await first.receive_until_caught_up()
    await first.disconnect()
    second = await connect(alice)
    await second.receive_until_caught_up()

    await anotify_accounts(alice, "hello", "again")

    assert (await second.receive("hello"))["seq"] == 1


async def test_a_stopped_hub_has_left_all_groups(layer, connect, alice, bob):
    for account in (alice, bob):
        await (await connect(account)).receive_until_caught_up()

    await stop_hub()

    # A group without members has been left.
    groups = [protocol.HUBS_GROUP, f"account_{alice.pk}", f"account_{bob.pk}"]
    assert [await members(layer, group) for group in groups] == [0, 0, 0]


async def members(layer, group):
    if hasattr(layer, "_group_key"):
        connection = layer.connection(layer.consistent_hash(group))
        return await connection.zcard(layer._group_key(group))
    if hasattr(layer, "_get_group_channel_name"):
        return len(layer.groups.get(layer._get_group_channel_name(group), ()))
    return len(layer.groups.get(group, ()))


UNDECODABLE = [
    b"\xff",
    b"",
    b"Alice is ill",
    b"\x81\xa4type\xa1",  # cut off
    b"\x91" * 100_000,  # nested
    b"\xdd\xff\xff\xff\xff",  # a list of 4 billion items
    b"\xc7\x03\x05abc",  # of an unknown type
    b"\x05",  # a number
    b"\xc0",  # None
    b"\x92\x01\x02",  # a list
    b"\xa5Alice",
    b"\x81\xa4type\xa1x",
    b"\x81\x01\x02",  # a dict without texts
    b"\x81\xb0__asgi_channel__\x81\x01\x02",
    b"\x81\xb0__asgi_channel__\x05",
]


async def write(layer, account, data):
    """Write bytes where the layer reads what is sent to the account, and to all hubs."""
    for group in (protocol.HUBS_GROUP, protocol.account_group(account.pk)):
        if not hasattr(layer, "_group_key"):
            await layer._shards[0].publish(layer._get_group_channel_name(group), data)
            continue
        redis = layer.connection(0)
        for channel in await redis.zrange(layer._group_key(group), 0, -1):
            key = layer.prefix + layer.non_local_name(channel.decode())
            # What it writes itself begins with twelve random bytes.
            await redis.zadd(key, {os.urandom(12) + data: time.time()})


async def test_undecodable_data_in_redis_stops_and_delays_nothing(
    redis_layer, connect, alice, caplog
):
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    # If each stopped the receiving task for a second, the tab would wait for a minute.
    for _ in range(2):
        for data in UNDECODABLE * 4:
            await write(redis_layer, alice, data)
        await redis_layer.group_send(
            protocol.account_group(alice.pk), protocol.account_message({"type": "progress"})
        )
        assert await tab.receive("progress")
    await anotify_accounts(alice, "hello", "the next one")

    assert (await tab.receive("hello"))["seq"] == 1
    assert "Alice" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_groups_are_joined_again_after_redis_was_flushed(
    redis_layer, redis, settings, connect, alice
):
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 0.3
    tab = await connect(alice)
    await tab.receive_until_caught_up()

    redis.flush()

    publishing = asyncio.create_task(publish_repeatedly(alice))
    assert await tab.receive("progress")
    publishing.cancel()


async def publish_repeatedly(account):
    while True:
        # Not stored: only a live update can deliver it.
        await anotify_accounts(account, "progress", "Half done", persist=False)
        await asyncio.sleep(0.1)


async def test_an_outage_of_redis_closes_no_connection(
    redis_layer, redis, settings, connect, alice
):
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 0.3
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    await asyncio.to_thread(redis.stop)
    try:
        # Only the check can deliver it: the hub and the connection keep working.
        await anotify_accounts(alice, "hello", "read from the database")
        assert (await tab.receive("hello"))["seq"] == 1
    finally:
        await asyncio.to_thread(redis.start)

    publishing = asyncio.create_task(publish_repeatedly(alice))
    assert await tab.receive("progress")
    publishing.cancel()


@pytest.mark.realtime
async def test_new_tabs_do_not_wait_for_a_redis_that_is_known_to_be_frozen(
    redis_layer, redis, connect, alice, bob, carol
):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    redis.freeze()
    try:
        # With the core layer the first tab waits in vain, and finds out.
        await (await connect(bob)).receive("register")

        assert await (await connect(carol)).receive("register", timeout=1)
    finally:
        redis.thaw()


@pytest.mark.realtime
async def test_the_check_does_not_wait_for_a_frozen_redis(
    redis_layer, redis, settings, connect, alice
):
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 1
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    redis.freeze()
    try:
        await anotify_accounts(alice, "hello", "read from the database")

        async with asyncio.timeout(1 + 2):  # an interval and two seconds
            assert (await tab.receive("hello", timeout=3))["seq"] == 1
    finally:
        redis.thaw()
