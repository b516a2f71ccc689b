"""The end of a hub: its sockets are sent away, not all at the same time."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from typing import Final

from notifications.conf import conf
from notifications.protocol import CloseCode

from .connection import Socket

TICK: Final = 0.02  # seconds


class Draining:
    """
    Either they are closed one after the other, or, where there is no time for
    it, all at once, and each client is asked to come back at another moment.
    """

    def __init__(
        self, sockets: Mapping[str, Socket], close: Callable[[Socket, CloseCode, float], None]
    ) -> None:
        """`sockets` are the hub's, as they come and go; `close` closes one and forgets it."""
        self.has_begun = False
        self._sockets = sockets
        self._close = close

    def refuse(self, socket: Socket) -> None:
        """Close one that came after the beginning, by a connection that was open before."""
        socket.close(CloseCode.RESTART, random.uniform(0, conf.DRAIN_SECONDS))

    async def run(self, seconds: float) -> None:
        """Close all in random order, the first at once, the last just before the time is over."""
        self.has_begun = True
        waiting = list(self._sockets.values())
        random.shuffle(waiting)
        loop = asyncio.get_running_loop()
        began, total = loop.time(), len(waiting)
        while self._sockets:  # or the last one left by itself, or all were sent away
            passed = loop.time() - began
            due = max(1, math.ceil(total * passed / seconds)) if passed < seconds else total
            while waiting and total - len(waiting) < due:
                self._close(waiting.pop(), CloseCode.RESTART, 0)
            await asyncio.sleep(TICK)

    def at_once(self, seconds: float) -> None:
        """Close all now; the clients are to come back within so many seconds."""
        self.has_begun = True
        for socket in list(self._sockets.values()):
            self._close(socket, CloseCode.RESTART, random.uniform(0, seconds))
