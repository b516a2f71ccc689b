"""Logs warnings that may occur thousands of times a second, as one line a minute."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final

logger = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 60.0
MAX_KINDS: Final = 10  # that are counted separately


class SummaryLog:
    """
    Logs the first event at once, later ones at the end of each interval, with their counts.

    Use it on an event loop.
    """

    def __init__(self, text: str) -> None:
        """`text` describes all the events."""
        self._text = text
        self._counts: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, kind: str) -> None:
        """Count an event. `kind` is logged, so it must not be confidential."""
        if len(self._counts) >= MAX_KINDS and kind not in self._counts:
            kind = "others"
        self._counts[kind] += 1
        if self._timer is None:
            self._write()

    def close(self) -> None:
        """Log what was counted since the last line."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._counts:
            self._log()

    def _write(self) -> None:
        self._timer = None
        if self._counts:
            self._log()
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._write)

    def _log(self) -> None:
        counts = ", ".join(f"{number} × {kind}" for kind, number in self._counts.most_common())
        logger.warning("%s: %s", self._text, counts)
        self._counts.clear()
