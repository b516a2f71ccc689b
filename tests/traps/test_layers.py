"""Channel layers, used as documented, without our rules for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.exceptions
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from harness.services import RedisServer, redis_server
from notifications import protocol
from tests.traps.layers import MESSAGE, Layer, receive_all
from tests.traps.peers import Ours, Plain, close_code, receive


@pytest.fixture
async def layer_of(redis: RedisServer) -> AsyncIterator[Callable[..., Layer]]:
    """Create layers on the tests' Redis, or another one, by default with just the address."""
    layers: list[Layer] = []

    def make(kind: Any, url: str = redis.url, **host: Any) -> Layer:
        hosts = [{"address": url, **host}] if host else [url]
        layers.append(kind(hosts=hosts))
        return layers[-1]

    redis.flush()
    yield make
    for layer in layers:
        for shard in getattr(layer, "_shards", []):
            await shard.flush()
        if isinstance(layer, RedisChannelLayer):
            await layer.close_pools()


@pytest.fixture
def own_redis():
    with redis_server() as server:
        yield server


# --- The core layer


async def test_core_an_idle_subscription_ends_after_five_seconds(layer_of) -> None:
    """By redis-py's default timeout; so our settings have None, as a system check asks."""
    layer = layer_of(RedisChannelLayer)
    channel = await layer.new_channel()

    with pytest.raises(redis.exceptions.TimeoutError):
        async with asyncio.timeout(12):
            await layer.receive(channel)

    patient = layer_of(RedisChannelLayer, socket_timeout=None)
    channel = await patient.new_channel()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(7):
            await patient.receive(channel)


async def test_core_a_burst_to_one_channel_is_mostly_dropped(layer_of) -> None:
    core, pubsub = (
        layer_of(kind, socket_timeout=None) for kind in (RedisChannelLayer, RedisPubSubChannelLayer)
    )
    received = []
    for layer in (core, pubsub):
        channel = await layer.new_channel()
        await layer.group_add("account_1", channel)
        for n in range(1000):
            await layer.group_send("account_1", {**MESSAGE, "n": n})
        received.append([message["n"] for message in await receive_all(layer, channel)])

    assert len(received[0]) < 500
    assert received[1] == list(range(1000))


async def test_core_a_flushed_redis_forgets_group_members(layer_of, redis) -> None:
    """So does the expiry of a group after a day; so our hub rejoins its groups regularly."""
    layer = layer_of(RedisChannelLayer, socket_timeout=None)
    channel = await layer.new_channel()
    await layer.group_add("account_1", channel)
    await layer.group_send("account_1", MESSAGE)
    assert await receive_all(layer, channel, 0.2, min_count=1) == [MESSAGE]

    redis.flush()
    await layer.group_send("account_1", MESSAGE)

    assert await receive_all(layer, channel, 0.5) == []


async def test_core_a_sender_whose_clock_is_ahead_deletes_pending_messages(
    layer_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_of(RedisChannelLayer, socket_timeout=None)
    channel = await layer.new_channel()
    await layer.send(channel, {**MESSAGE, "n": 1})

    real = time.time
    monkeypatch.setattr("channels_redis.core.time.time", lambda: real() + 120)
    await layer.send(channel, {**MESSAGE, "n": 2})
    monkeypatch.undo()

    assert [message["n"] for message in await receive_all(layer, channel, 0.3, min_count=1)] == [2]


async def test_core_many_concurrent_calls_run_out_of_connections(layer_of) -> None:
    """So we run at most 50 at a time."""
    layer = layer_of(RedisChannelLayer, socket_timeout=None)
    channel = await layer.new_channel()

    with pytest.raises(redis.exceptions.MaxConnectionsError):
        await asyncio.gather(*(layer.group_add(f"account_{n}", channel) for n in range(1000)))


def test_core_a_redis_outage_closes_all_connections(start, env, own_redis) -> None:
    backend = f"{RedisChannelLayer.__module__}.RedisChannelLayer"
    env = {**env, "REDIS_URL": own_redis.url, "TRAPS_LAYER": backend}
    plain, ours = (
        start(lambda directory, kind=kind: kind(directory, env)) for kind in (Plain, Ours)
    )
    with (
        plain.open_ready(plain.visitor("alice")) as plain_tab,
        ours.open_ready(ours.visitor("alice")) as our_tab,
    ):
        own_redis.stop()

        assert close_code(plain_tab) == 1011
        our_tab.send('{"type":"heartbeat"}')
        assert receive(our_tab, "heartbeat")
        own_redis.start()
        ours.send("alice", "still connected")
        assert receive(our_tab, "bench")["content"]["body"] == "still connected"


async def test_core_channel_capacity_does_not_raise_capacity(redis) -> None:
    """Messages above `capacity` are dropped, whatever `channel_capacity` allows."""
    host = {"address": redis.url, "socket_timeout": None}
    layer = RedisChannelLayer(hosts=[host], channel_capacity={"*": 5000})
    channel, other = await layer.new_channel(), await layer.new_channel()
    for n in range(1000):
        await layer.send(channel, {**MESSAGE, "n": n})

    # A channel that waits for its own messages takes the others' out of Redis and keeps them.
    assert await receive_all(layer, other, 3) == []
    assert len(await receive_all(layer, channel)) == 100
    await layer.close_pools()


# --- The pub/sub layer


async def test_pubsub_a_send_waits_forever_for_a_frozen_redis(layer_of, own_redis) -> None:
    """So we send in the background, with a time limit."""
    layer = layer_of(RedisPubSubChannelLayer, own_redis.url, socket_timeout=None)
    channel = await layer.new_channel()
    await layer.group_add("account_1", channel)
    await layer.group_send("account_1", MESSAGE)
    assert await receive_all(layer, channel, 0.2, min_count=1) == [MESSAGE]

    own_redis.freeze()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await layer.group_send("account_1", MESSAGE)
    finally:
        own_redis.thaw()
    # A time limit does no harm: the layer works again afterwards.
    async with asyncio.timeout(5):
        await layer.group_send("account_1", MESSAGE)


async def test_pubsub_group_add_returns_before_redis_knows(layer_of, own_redis) -> None:
    """So our hub reads the inbox again after it has joined."""
    layer = layer_of(RedisPubSubChannelLayer, own_redis.url, socket_timeout=None)
    channel = await layer.new_channel()
    await layer.group_add("account_1", channel)  # opens the connection

    own_redis.freeze()
    try:
        async with asyncio.timeout(1):
            await layer.group_add("account_2", channel)
    finally:
        own_redis.thaw()


async def test_pubsub_never_calls_the_reconnect_callbacks(own_redis) -> None:
    """It accepts callbacks but never calls them; so our hub's check notices outages."""
    called = []
    layer = RedisPubSubChannelLayer(
        hosts=[{"address": own_redis.url, "socket_timeout": None}],
        on_disconnect=lambda *args: called.append("lost"),
        on_reconnect=lambda *args: called.append("found"),
    )
    channel = await layer.new_channel()
    await layer.group_add("account_1", channel)
    own_redis.stop()
    await asyncio.sleep(0.5)
    own_redis.start()

    async def arrives() -> bool:
        await layer.group_send("account_1", MESSAGE)
        return bool(await receive_all(layer, channel, 0.3))

    async with asyncio.timeout(15):
        while not await arrives():
            pass
    assert called == []
    for shard in layer._layer._shards if hasattr(layer, "_layer") else layer._shards:
        await shard.flush()


async def test_pubsub_queues_without_limit(layer_of) -> None:
    """So our hub's receiving loop never waits for a database or a connection."""
    layer = layer_of(RedisPubSubChannelLayer, socket_timeout=None)
    channel = await layer.new_channel()
    await layer.group_add("account_1", channel)
    for n in range(3000):
        await layer.group_send("account_1", {**MESSAGE, "n": n})

    assert len(await receive_all(layer, channel)) == 3000


# --- All of them


@pytest.mark.parametrize("kind", [InMemoryChannelLayer, RedisChannelLayer, RedisPubSubChannelLayer])
async def test_a_message_to_three_groups_arrives_three_times(layer_of, kind) -> None:
    """So our messages have ids, and hubs ignore repeated ones."""
    layer = kind() if kind is InMemoryChannelLayer else layer_of(kind, socket_timeout=None)
    channel = await layer.new_channel()
    groups = ("account_1", "staff", "everyone")
    for group in groups:
        await layer.group_add(group, channel)

    for group in groups:
        await layer.group_send(group, MESSAGE)

    assert await receive_all(layer, channel, 0.5, min_count=3) == [MESSAGE] * 3


async def test_a_sync_call_in_an_event_loop_is_an_error(layer_of) -> None:
    layer = layer_of(RedisPubSubChannelLayer, socket_timeout=None)

    with pytest.raises(RuntimeError, match="same thread as an async event loop"):
        async_to_sync(layer.group_send)("account_1", MESSAGE)


def test_each_sync_call_opens_its_own_connection(own_redis) -> None:
    """Outside of a server; so our processes keep one event loop for all live updates."""
    layer = RedisPubSubChannelLayer(hosts=[{"address": own_redis.url, "socket_timeout": None}])

    def connections() -> int:
        with redis.Redis(port=own_redis.port) as client:
            return int(client.info("stats")["total_connections_received"])

    before = connections()
    for _ in range(10):
        async_to_sync(layer.group_send)("account_1", MESSAGE)

    assert connections() - before >= 10


def test_account_keys_are_not_always_valid_group_names() -> None:
    layer = InMemoryChannelLayer()
    for key in ("alice@example.com", "+49 30", "müller", "a b"):
        with pytest.raises(TypeError):
            layer.require_valid_group_name(f"account_{key}")
        assert layer.require_valid_group_name(protocol.account_group(key))
    # A trailing newline is accepted.
    assert layer.require_valid_group_name("account_1\n")
    assert layer.require_valid_group_name(protocol.account_group("1\n"))
    assert "\n" not in protocol.account_group("1\n")
