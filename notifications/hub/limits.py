"""What one client, one account and one process may take up, so that nobody harms the others."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Final

from notifications.conf import conf

from .connection import LiveConnection

BURST_SECONDS: Final = 10.0  # seconds' worth of frames that may come at once; then they are refused
FLOOD_SECONDS: Final = 2 * BURST_SECONDS  # and of refused ones, until the client is cut off
# Seconds until a refused client may try again: all are refused at once, so not all at one time.
RETRY_AFTER_SECONDS: Final = (5.0, 15.0)


class FrameRate:
    """
    A token bucket that needs no timer: the time at which all that came would have been due.

    Refused frames count as well, so that a flood does not go on being answered.
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
    """How many sockets this process has, those included whose account is still looked up."""

    def __init__(self) -> None:
        self.taken = 0

    def enter(self) -> bool:
        """Take a place, to be left again; False if there is none."""
        most = conf.MAX_SOCKETS_PER_WORKER
        if most is not None and self.taken >= most:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        self.taken -= 1


def surplus(connections: Collection[LiveConnection]) -> list[LiveConnection]:
    """Return the oldest of an account's sockets, as many as are too many."""
    most = conf.MAX_SOCKETS_PER_ACCOUNT
    if most is None or len(connections) <= most:
        return []
    return sorted(connections, key=lambda connection: connection.opened_at)[:-most]


def delay() -> float:
    """Return after how many seconds a client that found no room may come back."""
    return random.uniform(*RETRY_AFTER_SECONDS)
