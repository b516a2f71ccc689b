"""
Sends to the channel layer without making the caller wait or fail: it may be slow, frozen or down.

A change that is not sent is not lost: every hub compares its connections with the database.
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

from . import background_loop, envelopes, site, taps
from .addressing import Addressed, BatchT, for_accounts, merged
from .site import Site

logger = logging.getLogger(__name__)

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 2.0  # for one batch of concurrent calls
PROBE_TIMEOUT_SECONDS: Final = 0.5  # for a caller that waits
PROBE_PAUSE_SECONDS: Final = 2.0  # after a failure
MAX_CONCURRENT_CALLS: Final = 50  # without a limit, the Redis layers run out of connections

PROBE: Final = "notifications.probe"  # a group without members

# These have separate connections for each event loop. Any other channel layer may share state
# between loops, as the in-memory layer does, so it is used on the hub's loop, if there is one.
USABLE_ON_ANY_LOOP: Final = {taps.REDIS_CORE, taps.REDIS_PUBSUB}


class Breaker:
    """Skips the channel layer after a failure, until a single attempt has succeeded."""

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
                "Channel layer unavailable (%s): the next check will update open tabs.",
                type(failure).__name__,
            )
        self.is_open = True
        self._retry_at = time.monotonic() + PROBE_PAUSE_SECONDS


class Outbox:
    """
    The envelopes that one event loop has to send, in order.

    Those that arrive while others are being sent are merged and sent next, so that busy threads
    don't outrun the channel layer.
    """

    def __init__(self) -> None:
        self._waiting: list[list[Addressed]] = []
        self._is_sending = False

    async def put(self, addressed: list[Addressed]) -> None:
        """Send envelopes, and those that arrive meanwhile, unless another call is sending."""
        self._waiting.append(addressed)
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
        if known := await site.reader.wait_async():
            await _send(waiting[0] if len(waiting) == 1 else merged(chain(*waiting)), known)
            breaker.succeeded()


breaker = Breaker()
_outboxes: WeakKeyDictionary[background_loop.Loop, Outbox] = WeakKeyDictionary()


def is_in_memory() -> bool:
    """Whether the layer serves this process only: Channels' in-memory one, or a subclass."""
    try:
        return isinstance(get_channel_layer(), InMemoryChannelLayer)
    except Exception:  # it can't be created
        return False


def publish(addressed: list[Addressed]) -> None:
    """
    Send each envelope to its group, after those of earlier calls; for threads.

    Never waits and never raises: a failure is logged once, and the envelopes of later calls are
    dropped until the channel layer answers again.
    """
    if not addressed or not breaker.allows():
        return
    site.reader.known()  # begins to read it, which takes a thread: an ending process starts none
    try:
        background_loop.start(lambda: _outbox().put(addressed), _loop())
    except Exception as failure:
        breaker.failed(failure)


def publish_to_accounts(kind: type[BatchT], entries: Sequence[Any]) -> None:
    """Send each entry to the hubs that have connections of its account."""
    # Each group makes every send of the in-memory layer slower, so all accounts share one.
    publish(for_accounts(kind, entries, through_hubs=is_in_memory()))


def answers() -> bool:
    """
    Whether the channel layer takes a message within PROBE_TIMEOUT_SECONDS; for threads.

    It is tried even while the breaker is open.
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
    Call `call` with each item, in batches of MAX_CONCURRENT_CALLS.

    timeout: in seconds, for each batch.

    A failure is raised once the rest of its batch has ended, which may be for another server.
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


async def _send(addressed: list[Addressed], signer: Site) -> None:
    layer: Any = get_channel_layer()

    async def send(one: Addressed) -> None:
        group, content = one
        await layer.group_send(group, envelopes.dump(content, signer))

    await each(send, addressed, TIMEOUT_SECONDS)


async def _probe() -> None:
    layer: Any = get_channel_layer()
    await layer.group_send(PROBE, {"type": PROBE})
