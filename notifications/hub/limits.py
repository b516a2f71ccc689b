"""Limits per client, account and process, so that none of them can harm the others."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Final

from notifications.conf import conf

from .connection import LiveConnection

# How far a client may be ahead of its rate: beyond a burst its frames are refused, beyond a flood
# it is disconnected.
BURST_SECONDS: Final = 10.0
FLOOD_SECONDS: Final = 2 * BURST_SECONDS
# A random delay in this range, as many clients are refused at the same moment.
RETRY_AFTER_SECONDS: Final = (5.0, 15.0)


class FrameRate:
    """
    A token bucket without a timer: it keeps the time at which the last frame would be due.

    Refused frames count as well, so that a client that floods is not answered for ever.
    """

    __slots__ = ("_due_at", "spacing")

    def __init__(self) -> None:
        rate = conf.MAX_FRAMES_PER_SECOND
        self.spacing = 1 / rate if rate else 0.0  # seconds between two frames
        self._due_at = 0.0

    def take(self, now: float) -> float:
        """Count a frame at `now`, in monotonic seconds; return how many seconds early it is."""
        due_at = self._due_at
        self._due_at = (due_at if due_at > now else now) + self.spacing
        return self._due_at - now


class Capacity:
    """How many connections this process has, handshakes included."""

    def __init__(self) -> None:
        self.taken = 0

    def enter(self) -> bool:
        """Count one more connection; return False if there are too many. Undone by `leave`."""
        maximum = conf.MAX_SOCKETS_PER_WORKER
        if maximum is not None and self.taken >= maximum:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        self.taken -= 1


def surplus(connections: Collection[LiveConnection]) -> list[LiveConnection]:
    """Return the oldest of an account's connections that exceed the maximum."""
    maximum = conf.MAX_SOCKETS_PER_ACCOUNT
    if maximum is None or len(connections) <= maximum:
        return []
    return sorted(connections, key=lambda connection: connection.opened_at)[:-maximum]


def delay() -> float:
    """Return how many seconds a client that was refused for lack of capacity should wait."""
    return random.uniform(*RETRY_AFTER_SECONDS)
