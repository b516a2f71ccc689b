"""Channels' in-memory layer, used as its documentation says, without our rules for it."""

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
from tests.traps.layers import MESSAGE, all_of


async def test_in_memory_of_a_burst_a_hundred_arrive() -> None:
    """So a check asks for more room."""
    for layer, arrived in (
        (InMemoryChannelLayer(), 100),
        (InMemoryChannelLayer(capacity=100_000), 1000),
    ):
        channel = await layer.new_channel()
        await layer.group_add("account_1", channel)
        for n in range(1000):
            await layer.group_send("account_1", {**MESSAGE, "n": n})
        assert len(await all_of(layer, channel, 0.05)) == arrived


async def test_in_memory_an_old_message_takes_its_channel_out_of_all_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a suspended laptop, or a clock put forward; so our hub joins again."""
    layer = InMemoryChannelLayer()
    channel = await layer.new_channel()
    await layer.group_add("account_1", channel)
    await layer.group_send("account_1", MESSAGE)
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() + 120)

    await layer.group_send("account_1", MESSAGE)

    assert await all_of(layer, channel, 0.05) == []
    assert layer.groups.get("account_1", {}) == {}


async def test_each_message_costs_a_walk_through_all_groups() -> None:
    """So a push of ours is one message, however many it is for."""

    async def seconds_with(groups: int) -> float:
        layer = InMemoryChannelLayer()
        for n in range(groups):
            await layer.group_add(f"account_{n}", f"socket_{n}")
        started = time.process_time()
        for _ in range(20):
            await layer.group_send("account_1", MESSAGE)
        return time.process_time() - started

    assert await seconds_with(5000) > 20 * min([await seconds_with(5) for _ in range(5)])


@pytest.fixture
async def connect(transactional_db: None) -> AsyncIterator[Callable[..., Any]]:
    async with open_tabs(websocket_application) as connect:
        yield connect


async def test_what_a_thread_sends_waits_until_the_loop_has_something_else_to_do(
    connect, alice
) -> None:
    """So a push of ours goes to the loop of each hub in this process, and wakes it."""
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
    # Not at once: the loop has to be asleep by then.
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


def test_a_loop_that_is_closed_fails_the_next_sender() -> None:
    """So a push of ours goes by the loops that run."""
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
