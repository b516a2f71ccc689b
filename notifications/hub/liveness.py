"""
Checks whether the clients of a hub are still there.

One that sends nothing for an interval is pinged, and its connection closed after the timeout. So is
that of a client that reads nothing for the stall timeout.

A process that stood still itself has not read what clients sent meanwhile. It pings them all, and
each has the whole timeout to answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import takewhile
from typing import Final

from notifications import protocol
from notifications.conf import conf
from notifications.protocol import CloseCode
from notifications.servers.base import EncodedFrame

from .catch_up import CatchUp
from .connection import LiveConnection
from .fan_out import in_turns

MAX_PAUSE_SECONDS: Final = 1.0  # between two checks


class LivenessCheck:
    def __init__(
        self, catch_up: CatchUp, close: Callable[[LiveConnection, CloseCode], None]
    ) -> None:
        self._catch_up = catch_up
        self._close = close
        self._by_silence: OrderedDict[LiveConnection, None] = OrderedDict()  # longest silent first
        # Monotonic seconds: of the last check, and when this process last went on after a stop.
        self._checked_at = self._resumed_at = time.monotonic()

    def opened(self, connection: LiveConnection) -> None:
        self._by_silence[connection] = None

    def closed(self, connection: LiveConnection) -> None:
        self._by_silence.pop(connection, None)

    def heard(self, connection: LiveConnection) -> None:
        """Record a sign of life, which is any frame from the client."""
        connection.heard_at = time.monotonic()
        connection.pinged = False
        if connection in self._by_silence:
            self._by_silence.move_to_end(connection)

    async def step(self) -> None:
        """Wait for a second at most, then close and ping those that are due."""
        # Read once, as reading an unset setting takes microseconds.
        interval, timeout = conf.HEARTBEAT_INTERVAL, conf.HEARTBEAT_TIMEOUT
        await asyncio.sleep(min(MAX_PAUSE_SECONDS, interval / 2))
        before, now = self._checked_at, time.monotonic()
        self._checked_at = now
        # Clients are silent for an interval, and may be for the timeout: half of what is between.
        if stood_still := now - before > MAX_PAUSE_SECONDS + (timeout - interval) / 2:
            self._resumed_at = now
            self._catch_up.restart_stalls()
        while self._by_silence:
            connection = next(iter(self._by_silence))
            if now - max(connection.heard_at, self._resumed_at) <= timeout:
                break
            self._close(connection, CloseCode.HEARTBEAT_LOST)
        for connection in self._catch_up.stalled():
            self._close(connection, CloseCode.HEARTBEAT_LOST)
        silent = takewhile(
            lambda connection: now - connection.heard_at >= interval,
            self._by_silence,
        )
        due = [
            connection
            for connection in silent
            if connection.registered and (stood_still or not connection.pinged)
        ]
        ping = EncodedFrame(protocol.encode(protocol.frame("ping")))
        async for batch in in_turns(due):
            for connection in batch:
                connection.pinged = True
                connection.write(ping)
