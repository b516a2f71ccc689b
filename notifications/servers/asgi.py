"""Writing through ASGI's own `send`, with any server."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Final

from notifications.conf import conf

from .base import EncodedFrame, Send, ServerTransport, cut_off_soon

logger = logging.getLogger(__name__)

# Times NOTIFICATIONS_MAX_UNSENT. Each frame waits for the event loop, so that some are always
# waiting, even for clients that read.
ASGI_BUFFER_FACTOR: Final = 16


class AsgiWriter:
    """Sends frames in a task, which runs only while some are waiting."""

    __slots__ = (
        "_closed",
        "_max_size",
        "_max_unsent",
        "_send",
        "_task",
        "_transport",
        "_unsent",
        "_waiting",
    )

    def __init__(self, send: Send, transport: ServerTransport | None) -> None:
        """`transport` is None with a server whose private parts are not used."""
        self._send = send
        self._transport = transport
        self._max_size = conf.MAX_UNSENT
        self._max_unsent = ASGI_BUFFER_FACTOR * conf.MAX_UNSENT
        self._waiting: deque[dict[str, Any]] = deque()
        self._unsent = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_full(self) -> bool:
        # Daphne's `send` never waits: it buffers all that the client has not read.
        held = self._transport.unsent() if self._transport else 0
        return self._unsent + held > self._max_unsent

    def write(self, frame: EncodedFrame) -> bool:
        if self.is_full or len(frame.wire) > self._max_size:
            return False
        if not self._closed:
            self._put({"type": "websocket.send", "text": frame.text})
        return True

    def close(self, code: int) -> None:
        if not self._closed:
            self._closed = True
            # Autobahn accepts only an int, not an IntEnum.
            self._put({"type": "websocket.close", "code": int(code)})
            cut_off_soon(self._cut_off)

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
            # Usually the client is gone, which each server reports in its own way.
            logger.debug("Writing to a connection failed: %r", error)
            self._closed = True
            self._drop_waiting()
        finally:
            self._task = None

    def _cut_off(self) -> None:
        if self._transport:
            self._transport.abort()
        elif self._task:
            # The server waits for a client that reads nothing, perhaps for good.
            self._task.cancel()
            self._drop_waiting()

    def _drop_waiting(self) -> None:
        self._waiting.clear()
        self._unsent = 0
