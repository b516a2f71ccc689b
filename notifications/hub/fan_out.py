"""Writing broadcasts to all sockets of a process, without holding its event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from notifications.channel_layer import envelopes
from notifications.servers.base import EncodedFrame

from .connection import LiveConnection

CONNECTIONS_PER_TURN: Final = 250  # written to before others have the event loop, about 3 ms


class FanOut:
    """The broadcasts that are being written to all `sockets`, one after the other."""

    def __init__(
        self,
        connections: Mapping[str, LiveConnection],
        fall_behind: Callable[[LiveConnection], None],
    ) -> None:
        self._connections = connections
        self._fall_behind = fall_behind
        self._waiting: deque[_Broadcast] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_under_way(self) -> bool:
        return self._task is not None

    def push(self, message: envelopes.Envelope) -> None:
        """Write a `notifications.broadcast`: now to a few sockets, by turns to many."""
        broadcast = _Broadcast(message)
        if self._task is None and len(self._connections) <= CONNECTIONS_PER_TURN:
            self._write(self._connections.values(), broadcast)
            return
        self._waiting.append(broadcast)
        if self._task is None:
            self._task = asyncio.create_task(self._write_waiting())

    async def stop(self) -> None:
        """Write no more; what is not written yet is read from the database elsewhere."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                broadcast = self._waiting.popleft()
                async for connections in by_turns(list(self._connections.values())):
                    self._write(connections, broadcast)
        finally:
            self._task = None

    def _write(self, connections: Iterable[LiveConnection], broadcast: _Broadcast) -> None:
        seq, audience, created_at = broadcast.seq, broadcast.audience, broadcast.created_at
        message = broadcast.message
        for connection in connections:
            if connection.behind:
                connection.missed(broadcast_seq=seq)
            elif seq > connection.broadcast_seq:
                addressed = connection.recipient.receives(audience, created_at)
                if seq != connection.broadcast_seq + 1:
                    self._fall_behind(connection)
                elif not addressed:
                    connection.broadcast_seq = seq
                # Only the database knows whether one that goes was unread here.
                elif broadcast.gone or not connection.write(message):
                    self._fall_behind(connection)
                else:
                    connection.broadcast_seq = seq
                    connection.unread_broadcasts += 1


class _Broadcast:
    """A broadcast as the channel layer brought it, made ready to be written to many sockets."""

    __slots__ = ("audience", "created_at", "gone", "message", "seq")

    def __init__(self, message: envelopes.Envelope) -> None:
        self.seq: int = message["seq"]
        self.audience: str = message["audience"]
        self.created_at = datetime.fromisoformat(message["created_at"])
        self.gone: bool = message["gone"]
        self.message = EncodedFrame(message["text"])


async def by_turns(connections: list[LiveConnection]) -> AsyncIterator[list[LiveConnection]]:
    """Yield CONNECTIONS_PER_TURN of them, letting others have the event loop in between."""
    for start in range(0, len(connections), CONNECTIONS_PER_TURN):
        yield connections[start : start + CONNECTIONS_PER_TURN]
        await asyncio.sleep(0)
