"""The end of a hub: its sockets are sent away, not all at the same time."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from typing import Final

from notifications.conf import conf
from notifications.protocol import CloseCode

from .connection import LiveConnection

STEP_SECONDS: Final = 0.02  # seconds


class Drain:
    """
    Either they are closed one after the other, or, where there is no time for
    it, all at once, and each client is asked to come back at another moment.
    """

    def __init__(
        self,
        connections: Mapping[str, LiveConnection],
        close: Callable[[LiveConnection, CloseCode, float], None],
    ) -> None:
        """`sockets` are the hub's, as they come and go; `close` closes one and forgets it."""
        self.has_begun = False
        self._connections = connections
        self._close = close

    def refuse(self, connection: LiveConnection) -> None:
        """Close one that came after the beginning, by a connection that was open before."""
        connection.close(CloseCode.RESTART, random.uniform(0, conf.DRAIN_SECONDS))

    async def run(self, seconds: float) -> None:
        """Close all in random order, the first at once, the last just before the time is over."""
        self.has_begun = True
        waiting = list(self._connections.values())
        random.shuffle(waiting)
        loop = asyncio.get_running_loop()
        began, total = loop.time(), len(waiting)
        while self._connections:  # or the last one left by itself, or all were sent away
            passed = loop.time() - began
            due = max(1, math.ceil(total * passed / seconds)) if passed < seconds else total
            while waiting and total - len(waiting) < due:
                self._close(waiting.pop(), CloseCode.RESTART, 0)
            await asyncio.sleep(STEP_SECONDS)

    def at_once(self, seconds: float) -> None:
        """Close all now; the clients are to come back within so many seconds."""
        self.has_begun = True
        for connection in list(self._connections.values()):
            self._close(connection, CloseCode.RESTART, random.uniform(0, seconds))
