"""
A prebuilt frame on its way to a socket.

So far by ASGI `send` only, which any server has.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

logger = logging.getLogger(__name__)

HIGH_WATER: Final = 64 * 1024  # characters unsent, above which nothing more is written

Send = Callable[[dict[str, Any]], Awaitable[None]]


class AsgiTransport:
    """Writes in order without making the caller wait; a task lives only while something waits."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: deque[dict[str, Any]] = deque()
        self._unsent = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether the peer reads so slowly that it should be left behind for now."""
        return self._unsent > HIGH_WATER

    def write(self, text: str) -> None:
        """Send a frame; after `close` nothing is sent any more."""
        if not self._closed:
            self._put({"type": "websocket.send", "text": text})

    def close(self, code: int) -> None:
        """Close the socket behind what was written before."""
        if not self._closed:
            self._closed = True
            # Autobahn takes an int only, no IntEnum.
            self._put({"type": "websocket.close", "code": int(code)})

    def _put(self, message: dict[str, Any]) -> None:
        self._waiting.append(message)
        self._unsent += len(message.get("text", ""))
        if self._task is None:
            self._task = asyncio.create_task(self._send_waiting())

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                message = self._waiting[0]
                await self._send(message)
                self._waiting.popleft()
                self._unsent -= len(message.get("text", ""))
        except Exception as error:
            # Usually the peer is gone, which each server says in its own way.
            logger.debug("A socket could not be written: %r", error)
            self._closed = True
            self._waiting.clear()
        finally:
            self._task = None
