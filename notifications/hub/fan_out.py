"""Writing broadcasts to all sockets of a process, without holding its event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from notifications.channel_layer import envelopes
from notifications.servers.base import Message

from .connection import Socket

SOCKETS_AT_A_TIME: Final = 250  # written to before others have the event loop, about 3 ms


class FanOut:
    """The broadcasts that are being written to all `sockets`, one after the other."""

    def __init__(
        self, sockets: Mapping[str, Socket], fall_behind: Callable[[Socket], None]
    ) -> None:
        self._sockets = sockets
        self._fall_behind = fall_behind
        self._waiting: deque[_Broadcast] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_under_way(self) -> bool:
        return self._task is not None

    def push(self, message: envelopes.Message) -> None:
        """Write a `notifications.broadcast`: now to a few sockets, by turns to many."""
        broadcast = _Broadcast(message)
        if self._task is None and len(self._sockets) <= SOCKETS_AT_A_TIME:
            self._write(self._sockets.values(), broadcast)
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
                async for sockets in by_turns(list(self._sockets.values())):
                    self._write(sockets, broadcast)
        finally:
            self._task = None

    def _write(self, sockets: Iterable[Socket], broadcast: _Broadcast) -> None:
        seq, audience, created_at = broadcast.seq, broadcast.audience, broadcast.created_at
        message = broadcast.message
        for socket in sockets:
            if socket.behind:
                socket.missed(broadcast_seq=seq)
            elif seq > socket.broadcast_seq:
                addressed = socket.reader.gets(audience, created_at)
                if seq != socket.broadcast_seq + 1:
                    self._fall_behind(socket)
                elif not addressed:
                    socket.broadcast_seq = seq
                # Only the database knows whether one that goes was unread here.
                elif broadcast.gone or not socket.write(message):
                    self._fall_behind(socket)
                else:
                    socket.broadcast_seq = seq
                    socket.unread_broadcasts += 1


class _Broadcast:
    """A broadcast as the channel layer brought it, made ready to be written to many sockets."""

    __slots__ = ("audience", "created_at", "gone", "message", "seq")

    def __init__(self, message: envelopes.Message) -> None:
        self.seq: int = message["seq"]
        self.audience: str = message["audience"]
        self.created_at = datetime.fromisoformat(message["created_at"])
        self.gone: bool = message["gone"]
        self.message = Message(message["text"])


async def by_turns(sockets: list[Socket]) -> AsyncIterator[list[Socket]]:
    """Yield SOCKETS_AT_A_TIME of them, letting others have the event loop in between."""
    for start in range(0, len(sockets), SOCKETS_AT_A_TIME):
        yield sockets[start : start + SOCKETS_AT_A_TIME]
        await asyncio.sleep(0)
