"""Whether and when to connect again after a connection has ended. No I/O."""

from __future__ import annotations

import random
from typing import Any, Final

FIRST_BACK_OFF_SECONDS: Final = 1.0  # doubles with each attempt that did not catch up
MAX_BACK_OFF_SECONDS: Final = 30.0
TOO_FAST_SECONDS: Final = 30.0
# 4409 asks to wait until somebody looks at the tab again, and here nobody does.
STOP: Final = frozenset({1000, 4400, 4401, 4403, 4409})
SESSION_CHANGED: Final = 4402
TOO_FAST: Final = 4429


class Reconnecting:
    def __init__(self) -> None:
        self._attempts = 0
        self._session_has_changed = False

    def succeeded(self) -> None:
        """Record that the client is up to date."""
        self._attempts = 0
        self._session_has_changed = False

    def delay(self, code: int, bye: dict[str, Any] | None) -> float | None:
        """
        Return how many seconds to wait before connecting again; None: never.

        code: the server's close code; 1006 if there was none, or no connection at all.
        bye: the frame before the close, if there was one.
        """
        if code in STOP or (code == SESSION_CHANGED and self._session_has_changed):
            return None
        wanted = float((bye or {}).get("delay", 0))
        self._session_has_changed = code == SESSION_CHANGED
        if code == SESSION_CHANGED:
            return wanted
        if code == TOO_FAST:
            wanted = max(wanted, TOO_FAST_SECONDS)
        return wanted + self.back_off()

    def back_off(self) -> float:
        """Return a random delay in seconds, longer on average with each call."""
        longest = min(MAX_BACK_OFF_SECONDS, FIRST_BACK_OFF_SECONDS * 2**self._attempts)
        self._attempts = min(self._attempts + 1, 10)
        return random.uniform(0, longest)
