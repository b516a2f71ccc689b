"""Writes broadcasts to all connections of a process without blocking its event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Final

from notifications.channel_layer.envelopes import BroadcastUpdate
from notifications.servers.base import EncodedFrame

from .connection import LiveConnection

CONNECTIONS_PER_TURN: Final = 250  # about 3 ms, then other tasks run


class FanOut:
    """Writes one broadcast after the other."""

    def __init__(
        self,
        connections: Mapping[str, LiveConnection],
        fall_behind: Callable[[LiveConnection], None],
    ) -> None:
        """`connections` is the hub's own dict."""
        self._connections = connections
        self._fall_behind = fall_behind
        self._waiting: deque[BroadcastUpdate] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_under_way(self) -> bool:
        return self._task is not None

    def send(self, update: BroadcastUpdate) -> None:
        """Write the broadcast: to few connections at once, to many in turns."""
        if self._task is None and len(self._connections) <= CONNECTIONS_PER_TURN:
            self._write(self._connections.values(), update, EncodedFrame(update.text))
            return
        self._waiting.append(update)
        if self._task is None:
            self._task = asyncio.create_task(self._write_waiting())

    async def stop(self) -> None:
        """Stop writing: clients get the rest from the process that they connect to next."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                update = self._waiting.popleft()
                frame = EncodedFrame(update.text)
                async for connections in in_turns(list(self._connections.values())):
                    self._write(connections, update, frame)
        finally:
            self._task = None

    def _write(
        self, connections: Iterable[LiveConnection], update: BroadcastUpdate, frame: EncodedFrame
    ) -> None:
        seq, audience, created_at = update.seq, update.audience, update.created_at
        removed = update.removed
        for connection in connections:
            if connection.behind:
                connection.missed(broadcast_seq=seq)
            elif seq > connection.broadcast_seq:
                addressed = connection.recipient.receives(audience, created_at)
                if seq != connection.broadcast_seq + 1:
                    self._fall_behind(connection)
                elif not addressed:
                    connection.broadcast_seq = seq
                # Whether a removed broadcast was unread is only in the database.
                elif removed or not connection.write(frame):
                    self._fall_behind(connection)
                else:
                    connection.broadcast_seq = seq
                    connection.unread_broadcasts += 1


async def in_turns(connections: list[LiveConnection]) -> AsyncIterator[list[LiveConnection]]:
    """Yield CONNECTIONS_PER_TURN at a time, and let other tasks run in between."""
    for start in range(0, len(connections), CONNECTIONS_PER_TURN):
        yield connections[start : start + CONNECTIONS_PER_TURN]
        await asyncio.sleep(0)
