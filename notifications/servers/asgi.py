"""The way by ASGI's own `send`, for any server."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Final

from notifications.conf import conf

from .base import EncodedFrame, Send, ServerTransport, cut_off_soon

logger = logging.getLogger(__name__)

# Everything waits for a turn of the event loop, also for a peer that reads.
ASGI_BUFFER_FACTOR: Final = 16  # times as much as may be unsent


class AsgiWriter:
    """A task lives only while something waits."""

    __slots__ = ("_closed", "_connection", "_most", "_send", "_task", "_unsent", "_waiting")

    def __init__(self, send: Send, connection: ServerTransport | None) -> None:
        self._send = send
        self._connection = connection
        self._most = ASGI_BUFFER_FACTOR * conf.MAX_UNSENT
        self._waiting: deque[dict[str, Any]] = deque()
        self._unsent = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_full(self) -> bool:
        # Daphne takes whatever it is given, and holds it.
        held = self._connection.unsent() if self._connection else 0
        return self._unsent + held > self._most

    def write(self, message: EncodedFrame) -> bool:
        if self.is_full:
            return False
        if not self._closed:
            self._put({"type": "websocket.send", "text": message.text})
        return True

    def close(self, code: int) -> None:
        if not self._closed:
            self._closed = True
            # Autobahn takes an int only, no IntEnum.
            self._put({"type": "websocket.close", "code": int(code)})
            cut_off_soon(self._connection)

    def _put(self, event: dict[str, Any]) -> None:
        self._waiting.append(event)
        self._unsent += len(event.get("text", ""))
        if self._task is None:
            self._task = asyncio.create_task(self._send_waiting())

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                await self._send(self._waiting[0])
                self._unsent -= len(self._waiting.popleft().get("text", ""))
        except Exception as error:
            # Usually the peer is gone, which each server says in its own way.
            logger.debug("A socket could not be written: %r", error)
            self._closed = True
            self._waiting.clear()
        finally:
            self._task = None
