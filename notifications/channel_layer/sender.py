"""
Sending to the channel layer, without making the caller wait or fail: the layer may be slow,
frozen or down.

What is not sent is not lost: every hub compares its connections with the database.
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

from . import background_loop, envelopes, taps
from .addressing import Addressed, BatchT, for_accounts, merged

logger = logging.getLogger(__name__)

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 2.0  # for calls made at a time
PROBE_TIMEOUT_SECONDS: Final = 0.5  # where somebody waits
PROBE_PAUSE_SECONDS: Final = 2.0  # after a failure
MAX_CONCURRENT_CALLS: Final = 50  # unbounded, the Redis layers run out of connections

PROBE: Final = "notifications.probe"  # a group without members

# These have connections for each event loop. Any other layer may share more between loops, as the
# in-memory layer does, so it is used on the loop that receives from it, where there is one.
USABLE_ON_ANY_LOOP: Final = {taps.REDIS_CORE, taps.REDIS_PUBSUB}


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
        self._retry_at = now + PROBE_PAUSE_SECONDS  # the first caller makes the probe
        return True

    def succeeded(self) -> None:
        if self.is_open:
            logger.info("Channel layer available again.")
        self.is_open = False

    def failed(self, failure: Exception) -> None:
        if not self.is_open:
            logger.warning(
                "Channel layer unavailable (%s): open tabs are updated by the next check.",
                type(failure).__name__,
            )
        self.is_open = True
        self._retry_at = time.monotonic() + PROBE_PAUSE_SECONDS


class Outbox:
    """
    What one event loop has to send, in order.

    Envelopes that come while others are being sent are merged and sent next, so that busy threads
    do not get ahead of the layer.
    """

    def __init__(self) -> None:
        self._waiting: list[list[Addressed]] = []
        self._is_sending = False

    async def put(self, messages: list[Addressed]) -> None:
        """Send the messages, and those that come meanwhile, unless another call is sending."""
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
    """Whether the layer is for this process only: Channels' own, or a subclass of it."""
    try:
        return isinstance(get_channel_layer(), InMemoryChannelLayer)
    except Exception:  # it can't be made
        return False


def publish(messages: list[Addressed]) -> None:
    """
    Send each envelope to its group, after those of earlier calls; for threads.

    Waits for nothing and raises nothing: a failure is logged once, and the envelopes of further
    calls are dropped until the layer answers again.
    """
    if not messages or not breaker.allows():
        return
    try:
        background_loop.start(lambda: _outbox().put(messages), _loop())
    except Exception as failure:
        breaker.failed(failure)


def publish_to_accounts(kind: type[BatchT], entries: Sequence[Any]) -> None:
    """Send each entry to the hubs that have connections of its account."""
    # Every group costs the in-memory layer time at every send, so it has one for all.
    publish(for_accounts(kind, entries, through_hubs=is_in_memory()))


def answers() -> bool:
    """
    Whether there is a layer that takes a message within PROBE_TIMEOUT_SECONDS; for threads.

    Asks it also while the breaker is open.
    """
    try:
        loop = _loop()
        background_loop.run(_probe(), PROBE_TIMEOUT_SECONDS, loop)
    except Exception:
        return False
    breaker.succeeded()
    return True


async def each(call: Callable[[T], Awaitable[None]], items: Sequence[T], timeout: float) -> None:
    """
    Call for each item, MAX_CONCURRENT_CALLS at a time, within `timeout` seconds for these.

    A failure is raised once the others of its time have ended: they may be for another server.
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
    loop = background_loop.hub_loop()
    layer = get_channel_layer()
    if loop and taps.path_of(type(layer)) in USABLE_ON_ANY_LOOP and taps.is_tested(layer):
        return None
    return loop


def _outbox() -> Outbox:
    return _outboxes.setdefault(asyncio.get_running_loop(), Outbox())


async def _send(messages: list[Addressed]) -> None:
    layer: Any = get_channel_layer()

    async def send(addressed: Addressed) -> None:
        group, envelope = addressed
        await layer.group_send(group, envelopes.dump(envelope))

    await each(send, messages, TIMEOUT_SECONDS)


async def _probe() -> None:
    layer: Any = get_channel_layer()
    await layer.group_send(PROBE, {"type": PROBE})
