"""
Healing: sockets that are behind get from the database what they lack.

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
from notifications.db.thread import GATHERING, DatabaseThread
from notifications.inbox.changes import Changes, read_changes_of_many
from notifications.servers.base import Message

from .connection import Socket

HEALED_AT_A_TIME: Final = 500  # sockets whose lacks are read at once
FIRST_ITEMS: Final = 10  # read for one that has fallen behind, as nobody knows how large they are
ITEMS_PER_ROUND: Final = 100  # read for one at most, before the others' turn
ROUND_SIZE: Final = 32 * 1024  # characters, after which it is the others' turn
REORDERING: Final = 0.05  # seconds that an earlier push may come late, before the database is asked
DRAINING: Final = 0.2  # seconds until it is seen whether a slow reader has read
RETRY: Final = 1.0  # seconds until a failed reading is tried again


class Healing:
    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        # In the order of their turns, each with the number of items to read for it.
        self._behind: dict[Socket, int] = {}
        self._wake = asyncio.Event()
        self._is_due = False
        self._full_since: dict[Socket, float] = {}  # monotonic seconds

    def begin(self, socket: Socket) -> None:
        """Take in a new socket, which is behind from its start."""
        self._behind[socket] = FIRST_ITEMS
        self._wake.set()

    def fall_behind(self, socket: Socket) -> None:
        """Leave out a socket's pushes until it has been healed, soon."""
        if not socket.behind:
            socket.behind = True
            self._behind[socket] = FIRST_ITEMS
            if not self._is_due:
                self._is_due = True
                asyncio.get_running_loop().call_later(REORDERING, self._wake.set)

    def forget(self, socket: Socket) -> None:
        self._behind.pop(socket, None)

    def stalled(self) -> list[Socket]:
        """Return those that have been full for the stall timeout; to be called every second."""
        now = time.monotonic()
        # Whoever reads a little is found with room now and then, and starts anew.
        self._full_since = {
            socket: self._full_since.get(socket, now) for socket in self._behind if socket.is_full
        }
        return [
            socket
            for socket, since in self._full_since.items()
            if now - since >= conf.STALL_TIMEOUT
        ]

    async def step(self) -> None:
        """Wait until a socket is behind, and write what they lack to all that are."""
        await self._wake.wait()
        self._wake.clear()
        self._is_due = False
        sockets = [socket for socket in self._behind if not socket.is_full]
        if sockets:
            await self._heal(sockets[:HEALED_AT_A_TIME])
            await asyncio.sleep(GATHERING)  # a reading for many costs hardly more than for one
        if any(not socket.is_full for socket in self._behind):
            self._wake.set()
        elif self._behind:
            asyncio.get_running_loop().call_later(DRAINING, self._wake.set)

    async def _heal(self, sockets: Sequence[Socket]) -> None:
        for socket in sockets:
            socket.missed_nothing()
        wanted = [
            (socket.reader, socket.wanted_cursor(), self._behind[socket]) for socket in sockets
        ]
        try:
            readings = await self._database.run(read_changes_of_many, wanted, ROUND_SIZE)
        except Exception:
            asyncio.get_running_loop().call_later(RETRY, self._wake.set)
            raise
        for socket, reading in zip(sockets, readings, strict=True):
            if socket in self._behind:
                # To the end, so that those that lack much let the others go first.
                self._behind[socket] = _next_items(self._behind.pop(socket), reading)
                self._catch_up(socket, reading)

    def _catch_up(self, socket: Socket, changes: Changes) -> None:
        if not socket.registered:
            socket.register(changes)
        if changes.resync:
            resync = protocol.frame("resync", **changes.cursor.as_dict())
            if not socket.write_frame(resync):
                return
        for text, seq, broadcast_seq in changes.told:
            if not socket.write(Message(text)):
                return
            socket.seq = seq or socket.seq
            socket.broadcast_seq = broadcast_seq or socket.broadcast_seq
        socket.follow(changes.cursor)
        if changes.complete and not socket.has_missed():
            socket.count(changes.counts.unread, changes.counts.unread_broadcasts)
            if socket.answer_heartbeat():  # which tells the counts
                del self._behind[socket]
                socket.behind = False


def _next_items(items: int, changes: Changes) -> int:
    """Return how many to read in the next round: as many as fit in, or more, if all did."""
    if changes.size >= ROUND_SIZE:
        return len(changes.told)
    return min(2 * items, ITEMS_PER_ROUND)
