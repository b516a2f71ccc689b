"""
Sending to the channel layer, bounded: the layer may be slow, frozen or gone, a request may not.

What is not sent is not lost: every hub compares its sockets with the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from channels.layers import InMemoryChannelLayer, get_channel_layer

from . import background_loop

logger = logging.getLogger(__name__)

Message = dict[str, Any]

TIMEOUT: Final = 0.5  # seconds that one `publish` may take
PROBE_AFTER: Final = 2.0  # seconds without trying, after a failure
AT_A_TIME: Final = 50  # unbounded, the Redis layers run out of connections


class Breaker:
    """After a failure, skips the layer until a single attempt has succeeded."""

    def __init__(self) -> None:
        self._retry_at = 0.0

    def allows(self) -> bool:
        now = time.monotonic()
        if now < self._retry_at:
            return False
        if self._retry_at:
            self._retry_at = now + PROBE_AFTER  # one probe, by whoever asks first
        return True

    def succeeded(self) -> None:
        self._retry_at = 0.0

    def failed(self) -> None:
        self._retry_at = time.monotonic() + PROBE_AFTER


breaker = Breaker()


def is_in_memory() -> bool:
    return isinstance(get_channel_layer(), InMemoryChannelLayer)


def publish(messages: list[tuple[str, Message]]) -> None:
    """
    Send each message to its group, in order; call from a thread without a running loop.

    Takes TIMEOUT at most and raises nothing: a failure is logged once, and
    further calls return at once until the layer answers again.
    """
    if not messages or not breaker.allows():
        return
    try:
        background_loop.run(_publish(messages), timeout=2 * TIMEOUT)
    except Exception as failure:
        breaker.failed()
        logger.warning(
            "Channel layer unavailable (%s): open tabs get this with the next check.",
            type(failure).__name__,
        )
    else:
        breaker.succeeded()


def answers() -> bool:
    """Whether the layer takes a message within TIMEOUT, also while the breaker is open."""
    try:
        probe = ("notifications.probe", {"type": "notifications.probe"})
        background_loop.run(_publish([probe]), timeout=2 * TIMEOUT)
    except Exception:
        return False
    breaker.succeeded()
    return True


async def _publish(messages: list[tuple[str, Message]]) -> None:
    channel_layer: Any = get_channel_layer()
    # Not wait_for: on Python 3.11 it can swallow the cancellation of a frozen call.
    async with asyncio.timeout(TIMEOUT):
        for start in range(0, len(messages), AT_A_TIME):
            await asyncio.gather(
                *(
                    channel_layer.group_send(group, message)
                    for group, message in messages[start : start + AT_A_TIME]
                )
            )
