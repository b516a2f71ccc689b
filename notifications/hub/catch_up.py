"""
Catching up: connections that are behind read the changes they missed from the database.

All of them are read together, a bounded number of changes each, oldest first. A
connection that has everything gets a heartbeat with the counts and is up to date:
from then on, published changes are written to it directly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from notifications import protocol
from notifications.conf import conf
from notifications.db.thread import GATHER_SECONDS, DatabaseThread
from notifications.inbox.changes import Changes, read_changes_of_many
from notifications.servers.base import EncodedFrame

from .connection import LiveConnection

CONNECTIONS_PER_ROUND: Final = 500  # read by the same queries
# Per connection and round. Few at first, as they may be large.
FIRST_ITEMS: Final = 10
MAX_ITEMS_PER_ROUND: Final = 100
MAX_ROUND_SIZE: Final = 32 * 1024  # characters
REORDER_SECONDS: Final = 0.05  # how late an earlier change may arrive before the database is asked
SLOW_READER_RETRY_SECONDS: Final = 0.2  # between two checks of full connections
RETRY_SECONDS: Final = 1.0  # after a read that failed


class CatchUp:
    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        # In the order of their turns, with the number of items to read for each.
        self._behind: dict[LiveConnection, int] = {}
        self._wake = asyncio.Event()
        self._is_due = False
        self._full_since: dict[LiveConnection, float] = {}  # monotonic seconds

    def begin(self, connection: LiveConnection) -> None:
        """Add a new connection, which starts behind."""
        self._behind[connection] = FIRST_ITEMS
        self._wake.set()

    def fall_behind(self, connection: LiveConnection) -> None:
        """Write no live update to this connection until it has caught up, which starts soon."""
        if not connection.behind:
            connection.behind = True
            self._behind[connection] = FIRST_ITEMS
            if not self._is_due:
                self._is_due = True
                asyncio.get_running_loop().call_later(REORDER_SECONDS, self._wake.set)

    def forget(self, connection: LiveConnection) -> None:
        self._behind.pop(connection, None)

    def stalled(self) -> list[LiveConnection]:
        """Return connections that have been full for STALL_TIMEOUT; call this every second."""
        now = time.monotonic()
        # A client that reads slowly is not always full, and each break restarts its time.
        self._full_since = {
            connection: self._full_since.get(connection, now)
            for connection in self._behind
            if connection.is_full
        }
        return [
            connection
            for connection, since in self._full_since.items()
            if now - since >= conf.STALL_TIMEOUT
        ]

    async def step(self) -> None:
        """Wait until a connection is behind, then write missed changes to all that are."""
        await self._wake.wait()
        self._wake.clear()
        self._is_due = False
        connections = [connection for connection in self._behind if not connection.is_full]
        if connections:
            await self._read_and_write(connections[:CONNECTIONS_PER_ROUND])
            await asyncio.sleep(GATHER_SECONDS)  # a read for many costs little more than for one
        if any(not connection.is_full for connection in self._behind):
            self._wake.set()
        elif self._behind:
            asyncio.get_running_loop().call_later(SLOW_READER_RETRY_SECONDS, self._wake.set)

    async def _read_and_write(self, connections: Sequence[LiveConnection]) -> None:
        for connection in connections:
            connection.forget_missed()
        wanted = [
            (connection.recipient, connection.wanted_position(), self._behind[connection])
            for connection in connections
        ]
        try:
            reads = await self._database.run(read_changes_of_many, wanted, MAX_ROUND_SIZE)
        except Exception:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)
            raise
        for connection, changes in zip(connections, reads, strict=True):
            if connection in self._behind:
                # Moved to the end: connections that missed much wait for the others.
                self._behind[connection] = _next_items(self._behind.pop(connection), changes)
                self._write(connection, changes)

    def _write(self, connection: LiveConnection, changes: Changes) -> None:
        if not connection.registered:
            connection.register(changes)
        if changes.resync:
            resync = protocol.frame("resync", **changes.position.as_dict())
            if not connection.write_frame(resync):
                return
        for text, seq, broadcast_seq in changes.encoded:
            if not connection.write(EncodedFrame(text)):
                return
            connection.seq = seq or connection.seq
            connection.broadcast_seq = broadcast_seq or connection.broadcast_seq
        connection.set_position(changes.position)
        if changes.complete and not connection.has_missed():
            connection.count(changes.counts.unread, changes.counts.unread_broadcasts)
            connection.behind = False
            if connection.answer_heartbeat():
                del self._behind[connection]
            else:
                connection.behind = True  # full: its counts have not been written


def _next_items(items: int, changes: Changes) -> int:
    """Return how many items to read in the next round: as many as fit, or more if all did."""
    if changes.size >= MAX_ROUND_SIZE:
        return len(changes.encoded)
    return min(2 * items, MAX_ITEMS_PER_ROUND)
