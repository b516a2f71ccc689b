"""
Tells envelopes that arrive for the first time, and in time, from recorded ones.

A stranger that can read and write the channel layer can send a genuine envelope once more.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from .site import Site

MAX_AGE_SECONDS: Final = 60.0
# An envelope counts for two minutes if its sender's estimate of the time is ahead of ours, and for
# longer if ours goes back.
MEMORY_SECONDS: Final = 3 * MAX_AGE_SECONDS
MAX_REMEMBERED: Final = 100_000

TOO_OLD: Final = "too old"
TOO_NEW: Final = "from the future"
REPEATED: Final = "repeated"


class Replays:
    """The envelopes that one hub has received, by their digests."""

    def __init__(self, since: float) -> None:
        """
        `since`: when the hub began to receive. An envelope sent earlier may have come to others.

        All times here are of this process's monotonic clock.
        """
        self._complete_since = since
        self._digests: set[str] = set()
        self._arrivals: deque[tuple[float, float, str]] = deque()  # arrived, sent, digest

    def refusal(self, site: Site, digest: str, sent_at: float, is_numbered: bool) -> str | None:
        """
        Return why an envelope is not to be handled, None if it is.

        is_numbered: the numbers of its changes tell whether a connection has them already.
        """
        now = time.monotonic()
        sent = sent_at - site.offset
        if sent < now - MAX_AGE_SECONDS:
            return TOO_OLD
        if sent > now + MAX_AGE_SECONDS:
            return TOO_NEW
        if is_numbered:
            return None
        if digest in self._digests:
            return REPEATED
        if sent <= self._complete_since:
            return TOO_OLD
        self._digests.add(digest)
        self._arrivals.append((now, sent, digest))
        self._forget_oldest(now)
        return None

    def _forget_oldest(self, now: float) -> None:
        while len(self._arrivals) > MAX_REMEMBERED:
            self._complete_since = max(self._complete_since, self._forget())
        while self._arrivals[0][0] < now - MEMORY_SECONDS:
            self._forget()

    def _forget(self) -> float:
        """Forget the envelope that arrived first; return when it was sent."""
        _, sent, digest = self._arrivals.popleft()
        self._digests.discard(digest)
        return sent
