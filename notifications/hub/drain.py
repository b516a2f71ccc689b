"""Closes all connections of a stopping hub, without a stampede to the other servers."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from typing import Final

from notifications.conf import conf
from notifications.protocol import CloseCode

from .connection import LiveConnection

STEP_SECONDS: Final = 0.02


class Drain:
    """
    Closes connections one by one over some seconds or, if there is no time for that, all at once,
    with a different delay for each client before it reconnects.
    """

    def __init__(
        self,
        connections: Mapping[str, LiveConnection],
        close: Callable[[LiveConnection, CloseCode, float], None],
    ) -> None:
        """`connections`: the hub's own dict; `close` closes one and removes it from there."""
        self.has_begun = False
        self._connections = connections
        self._close = close

    def refuse(self, connection: LiveConnection) -> None:
        """Close a connection that arrived after the drain had begun."""
        connection.close(CloseCode.RESTART, random.uniform(0, conf.DRAIN_SECONDS))

    async def run(self, seconds: float) -> None:
        """Close all in random order, evenly over `seconds`, the first one at once."""
        self.has_begun = True
        waiting = list(self._connections.values())
        random.shuffle(waiting)
        loop = asyncio.get_running_loop()
        began, total = loop.time(), len(waiting)
        while self._connections:
            passed = loop.time() - began
            due = max(1, math.ceil(total * passed / seconds)) if passed < seconds else total
            while waiting and total - len(waiting) < due:
                self._close(waiting.pop(), CloseCode.RESTART, 0)
            await asyncio.sleep(STEP_SECONDS)

    def at_once(self, seconds: float) -> None:
        """Close all now; clients reconnect after a random delay of up to `seconds`."""
        self.has_begun = True
        for connection in list(self._connections.values()):
            self._close(connection, CloseCode.RESTART, random.uniform(0, seconds))
