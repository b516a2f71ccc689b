"""
CatchUp: sockets that are behind get from the database what they lack.

A bounded part each, all that are behind at once, oldest changes first; then a
heartbeat with the counts, and the socket is level: pushes reach it again.
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

CONNECTIONS_PER_ROUND: Final = 500  # sockets whose lacks are read at once
FIRST_ITEMS: Final = 10  # read for one that has fallen behind, as nobody knows how large they are
MAX_ITEMS_PER_ROUND: Final = 100  # read for one at most, before the others' turn
MAX_ROUND_SIZE: Final = 32 * 1024  # characters, after which it is the others' turn
REORDER_SECONDS: Final = (
    0.05  # seconds that an earlier push may come late, before the database is asked
)
SLOW_READER_RETRY_SECONDS: Final = 0.2  # seconds until it is seen whether a slow reader has read
RETRY_SECONDS: Final = 1.0  # seconds until a failed reading is tried again


class CatchUp:
    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        # In the order of their turns, each with the number of items to read for it.
        self._behind: dict[LiveConnection, int] = {}
        self._wake = asyncio.Event()
        self._is_due = False
        self._full_since: dict[LiveConnection, float] = {}  # monotonic seconds

    def begin(self, connection: LiveConnection) -> None:
        """Take in a new socket, which is behind from its start."""
        self._behind[connection] = FIRST_ITEMS
        self._wake.set()

    def fall_behind(self, connection: LiveConnection) -> None:
        """Leave out a socket's pushes until it has been healed, soon."""
        if not connection.behind:
            connection.behind = True
            self._behind[connection] = FIRST_ITEMS
            if not self._is_due:
                self._is_due = True
                asyncio.get_running_loop().call_later(REORDER_SECONDS, self._wake.set)

    def forget(self, connection: LiveConnection) -> None:
        self._behind.pop(connection, None)

    def stalled(self) -> list[LiveConnection]:
        """Return those that have been full for the stall timeout; to be called every second."""
        now = time.monotonic()
        # Whoever reads a little is found with room now and then, and starts anew.
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
        """Wait until a socket is behind, and write what they lack to all that are."""
        await self._wake.wait()
        self._wake.clear()
        self._is_due = False
        connections = [connection for connection in self._behind if not connection.is_full]
        if connections:
            await self._read_and_write(connections[:CONNECTIONS_PER_ROUND])
            await asyncio.sleep(GATHER_SECONDS)  # a reading for many costs hardly more than for one
        if any(not connection.is_full for connection in self._behind):
            self._wake.set()
        elif self._behind:
            asyncio.get_running_loop().call_later(SLOW_READER_RETRY_SECONDS, self._wake.set)

    async def _read_and_write(self, connections: Sequence[LiveConnection]) -> None:
        for connection in connections:
            connection.missed_nothing()
        wanted = [
            (connection.recipient, connection.wanted_position(), self._behind[connection])
            for connection in connections
        ]
        try:
            readings = await self._database.run(read_changes_of_many, wanted, MAX_ROUND_SIZE)
        except Exception:
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)
            raise
        for connection, reading in zip(connections, readings, strict=True):
            if connection in self._behind:
                # To the end, so that those that lack much let the others go first.
                self._behind[connection] = _next_items(self._behind.pop(connection), reading)
                self._catch_up(connection, reading)

    def _catch_up(self, connection: LiveConnection, changes: Changes) -> None:
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
        connection.follow(changes.position)
        if changes.complete and not connection.has_missed():
            connection.count(changes.counts.unread, changes.counts.unread_broadcasts)
            if connection.answer_heartbeat():  # which tells the counts
                del self._behind[connection]
                connection.behind = False


def _next_items(items: int, changes: Changes) -> int:
    """Return how many to read in the next round: as many as fit in, or more, if all did."""
    if changes.size >= MAX_ROUND_SIZE:
        return len(changes.encoded)
    return min(2 * items, MAX_ITEMS_PER_ROUND)
