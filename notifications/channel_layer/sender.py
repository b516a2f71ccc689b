"""
Sending to the channel layer: it may be slow, frozen or gone, the caller may not.

So the caller waits for none of it. What is not sent is not lost: every hub
compares its sockets with the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from channels.layers import InMemoryChannelLayer, get_channel_layer

from . import background_loop
from .envelopes import Addressed, Entry, for_accounts, merged

logger = logging.getLogger(__name__)

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 2.0  # seconds for calls made at a time
PROBE_TIMEOUT_SECONDS: Final = 0.5  # seconds, where somebody waits
PROBE_PAUSE_SECONDS: Final = 2.0  # seconds without trying, after a failure
MAX_CONCURRENT_CALLS: Final = 50  # unbounded, the Redis layers run out of connections


class Breaker:
    """After a failure, skips the layer until a single attempt has succeeded."""

    def __init__(self) -> None:
        self.is_open = False
        self._retry_at = 0.0  # monotonic seconds

    def allows(self) -> bool:
        if not self.is_open:
            return True
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + PROBE_PAUSE_SECONDS  # one probe, by whoever asks first
        return True

    def succeeded(self) -> None:
        if self.is_open:
            logger.info("Channel layer available again.")
        self.is_open = False

    def failed(self, failure: Exception) -> None:
        if not self.is_open:
            logger.warning(
                "Channel layer unavailable (%s): open tabs get what is new with the next check.",
                type(failure).__name__,
            )
        self.is_open = True
        self._retry_at = time.monotonic() + PROBE_PAUSE_SECONDS


class Outbox:
    """
    What one event loop is to send, in order.

    What comes while something is on its way goes together afterwards, so that
    threads that keep the process busy do not leave their messages behind.
    """

    def __init__(self) -> None:
        self._waiting: list[list[Addressed]] = []
        self._is_sending = False

    async def put(self, messages: list[Addressed]) -> None:
        """Send the messages and what else comes meanwhile, unless another call is about it."""
        self._waiting.append(messages)
        if self._is_sending:
            return
        self._is_sending = True
        try:
            while self._waiting:
                await self._send_waiting()
        except Exception as failure:
            breaker.failed(failure)
            self._waiting.clear()
        finally:
            self._is_sending = False

    async def _send_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        await _send(waiting[0] if len(waiting) == 1 else merged(chain(*waiting)))
        breaker.succeeded()


breaker = Breaker()
_outboxes: WeakKeyDictionary[background_loop.Loop, Outbox] = WeakKeyDictionary()


def is_in_memory() -> bool:
    return isinstance(get_channel_layer(), InMemoryChannelLayer)


def publish(messages: list[Addressed]) -> None:
    """
    Send each message to its group, after those of earlier calls; for threads.

    Waits for nothing and raises nothing: a failure is logged once, and the
    messages of further calls are dropped until the layer answers again.
    """
    if not messages or not breaker.allows():
        return
    try:
        background_loop.start(lambda: _outbox().put(messages), _loop())
    except Exception as failure:
        breaker.failed(failure)


def publish_to_accounts(message_type: str, entries: Sequence[Entry]) -> None:
    """Send each entry to the hubs that have sockets of its account."""
    # Each group costs the in-memory layer time at every send, so it has one for all.
    publish(for_accounts(message_type, entries, through_hubs=is_in_memory()))


def answers() -> bool:
    """
    Whether there is a layer that takes a message within PROBE_TIMEOUT_SECONDS.

    Asks it also while the breaker is open.
    """
    probe = ("notifications.probe", {"type": "notifications.probe"})
    try:
        if get_channel_layer() is None:
            return False
        loop = _loop()
        background_loop.run(_send([probe]), PROBE_TIMEOUT_SECONDS, loop)
    except Exception:
        return False
    breaker.succeeded()
    return True


async def each(call: Callable[[T], Awaitable[None]], items: Sequence[T], timeout: float) -> None:
    """
    Call for each item, AT_A_TIME of them at a time, for which there are `timeout` seconds.

    One that fails keeps no other of its time from being called: it may be for
    another server. Then its failure is raised.
    """
    for start in range(0, len(items), MAX_CONCURRENT_CALLS):
        # Not wait_for: on Python 3.11 it can swallow the cancellation of a frozen call.
        async with asyncio.timeout(timeout):
            results = await asyncio.gather(
                *map(call, items[start : start + MAX_CONCURRENT_CALLS]), return_exceptions=True
            )
        for result in results:
            if isinstance(result, Exception):
                raise result


def _loop() -> background_loop.Loop | None:
    # In memory, the layer is for the one event loop that the hub's sockets are in.
    return background_loop.callers_loop() if is_in_memory() else None


def _outbox() -> Outbox:
    return _outboxes.setdefault(asyncio.get_running_loop(), Outbox())


async def _send(messages: list[Addressed]) -> None:
    channel_layer: Any = get_channel_layer()
    await each(lambda addressed: channel_layer.group_send(*addressed), messages, TIMEOUT_SECONDS)
