"""Channels' in-memory layer, used as documented, without our rules for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from notifications import notify_accounts
from notifications.routing import websocket_application
from notifications.testing import open_tabs
from tests.traps.layers import MESSAGE, receive_all


async def test_in_memory_a_burst_loses_all_but_a_hundred() -> None:
    """So a system check asks for more capacity."""
    for layer, arrived in (
        (InMemoryChannelLayer(), 100),
        (InMemoryChannelLayer(capacity=100_000), 1000),
    ):
        channel = await layer.new_channel()
        await layer.group_add("account_1", channel)
        for n in range(1000):
            await layer.group_send("account_1", {**MESSAGE, "n": n})
        assert len(await receive_all(layer, channel, 0.05)) == arrived


async def test_in_memory_an_expired_message_removes_its_channel_from_all_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the laptop sleeps or the clock jumps forward; so our hub rejoins its groups."""
    layer = InMemoryChannelLayer()
    channel = await layer.new_channel()
    await layer.group_add("account_1", channel)
    await layer.group_send("account_1", MESSAGE)
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + 120)

    await layer.group_send("account_1", MESSAGE)

    assert await receive_all(layer, channel, 0.05) == []
    assert layer.groups.get("account_1", {}) == {}


async def test_in_memory_each_message_walks_through_all_groups() -> None:
    """So we send one message, however many accounts it is for."""

    async def seconds_with(groups: int) -> float:
        layer = InMemoryChannelLayer()
        for n in range(groups):
            await layer.group_add(f"account_{n}", f"connection_{n}")
        started = time.process_time()
        for _ in range(20):
            await layer.group_send("account_1", MESSAGE)
        return time.process_time() - started

    assert await seconds_with(5000) > 20 * min([await seconds_with(5) for _ in range(5)])


@pytest.fixture
async def connect(transactional_db: None) -> AsyncIterator[Callable[..., Any]]:
    async with open_tabs(websocket_application) as connect:
        yield connect


async def test_in_memory_a_message_from_a_thread_does_not_wake_the_loop(connect, alice) -> None:
    """So our live updates wake the loop of each hub in this process."""
    layer = InMemoryChannelLayer()
    channel = await layer.new_channel()
    await layer.group_add("account_1", channel)
    arrived: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def receive() -> None:
        await layer.receive(channel)
        arrived.set_result(time.monotonic())

    receiving = asyncio.create_task(receive())
    await asyncio.sleep(0.1)
    started = time.monotonic()
    # After a delay, because the loop has to be asleep by then.
    sending = layer.group_send("account_1", MESSAGE)
    threading.Timer(0.2, asyncio.run, [sending]).start()
    await asyncio.sleep(1.5)
    await receiving
    assert arrived.result() - started > 1.4

    tab = await connect(alice)
    await tab.receive_until_caught_up()
    started = time.monotonic()
    threading.Thread(target=notify_accounts, args=[alice, "hello", "from a thread"]).start()
    await tab.receive("hello")
    assert time.monotonic() - started < 1.4


def test_in_memory_a_closed_loop_fails_the_next_sender() -> None:
    """So our live updates only use running loops."""
    layer = InMemoryChannelLayer()

    async def wait_and_leave() -> None:
        channel = await layer.new_channel()
        await layer.group_add("account_1", channel)
        asyncio.get_running_loop().create_task(layer.receive(channel))
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(wait_and_leave())
    loop.close()

    with pytest.raises(RuntimeError, match="Event loop is closed"):
        asyncio.run(layer.group_send("account_1", MESSAGE))
