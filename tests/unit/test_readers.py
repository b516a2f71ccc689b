"""Readers receive from any channel layer: a message that it can't decode stops none of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from notifications.channel_layer import readers as module
from notifications.channel_layer.readers import MAX_PROMPT_RETRIES, Readers


class Layer:
    """Raises what it is given, and returns anything else that it is given."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.calls = 0

    async def new_channel(self) -> str:
        return "channel"

    async def receive(self, channel: str) -> Any:
        self.calls += 1
        if not self.items:
            await asyncio.Event().wait()
        item = self.items.pop(0)
        if isinstance(item, Exception):
            raise item
        return item


class Undecodable(Exception):
    """As some layers have their own."""


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A pause lasts for ever, and a second never ends."""
    monkeypatch.setattr(module, "RETRY_SECONDS", (3600, 3600))
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
async def opened() -> AsyncIterator[list[Readers]]:
    opened: list[Readers] = []
    yield opened
    for readers in opened:
        for task in readers.tasks:
            task.cancel()
        await readers.close()


async def taken_from(layer: Layer, opened: list[Readers]) -> list[object]:
    """Return the messages that a reader takes until it waits."""
    taken: list[object] = []
    readers = Readers(layer, lambda account, message: taken.append(message))
    opened.append(readers)
    await readers.source("1").open()
    calls = -1
    while calls != layer.calls:
        calls = layer.calls
        for _ in range(20):
            await asyncio.sleep(0)
    return taken


@pytest.mark.parametrize(
    "error", [ValueError, TypeError, KeyError, AssertionError, RecursionError, Undecodable]
)
async def test_a_message_that_cannot_be_decoded_delays_no_other(
    opened: list[Readers], error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    layer = Layer(*[error("Alice is ill")] * 100, {"type": "next"})

    assert await taken_from(layer, opened) == [{"type": "next"}]
    assert "Alice" not in caplog.text


@pytest.mark.parametrize("error", [ConnectionResetError, TimeoutError, RedisConnectionError])
async def test_an_outage_is_waited_for(opened: list[Readers], error: type[Exception]) -> None:
    layer = Layer(error(), {"type": "next"})

    assert await taken_from(layer, opened) == []
    assert layer.calls == 1


async def test_an_outage_of_an_unknown_kind_does_not_keep_the_process_busy(
    opened: list[Readers], standing_clock: SimpleNamespace
) -> None:
    layer = Layer(*[Undecodable()] * 10_000)

    await taken_from(layer, opened)
    assert layer.calls == MAX_PROMPT_RETRIES + 1

    (readers,) = opened
    standing_clock.now += 2
    async with asyncio.timeout(30):
        await readers.pause_after(Undecodable())  # a new second
