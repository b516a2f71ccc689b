"""
What the ways to a socket have in common: a frame, built once, and the connection below.

ASGI's `send` costs several times what the kernel takes for the same bytes,
because each server wraps, encodes and frames every message again. A frame is
the same bytes for all sockets, so it is built once and written straight to the
server's transport, where the server is one whose insides were tested. Any other
server is written to by ASGI `send`, and so is the close of any.

Nor does ASGI tell how much waits to be sent, or cut a connection off, and a
peer that never reads does not take a close either: what a server has still to
send keeps its connection open for good.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Protocol

from notifications.conf import conf

logger = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 5.0  # seconds for a peer to take the close, before its connection is cut off

# Servers whose insides are used here, by the versions that the tests ran with.
TESTED: Final = {"daphne": ("4.2",), "twisted": ("26",), "uvicorn": ("0.54",)}

Send = Callable[[dict[str, Any]], Awaitable[None]]


class EncodedFrame:
    """A text frame, built once for all sockets: RFC 6455, section 5.2, unmasked and whole."""

    __slots__ = ("text", "wire")

    def __init__(self, text: str) -> None:
        payload = text.encode()
        size = len(payload)
        if size < 126:
            header = bytes((0x81, size))
        elif size < 65536:
            header = b"\x81\x7e" + size.to_bytes(2, "big")
        else:
            header = b"\x81\x7f" + size.to_bytes(8, "big")
        self.text = text
        self.wire = header + payload


class ServerTransport(Protocol):
    """The TCP connection below a socket, where the server is one whose insides are known."""

    def unsent(self) -> int:
        """Bytes that the server holds because the kernel did not take them."""

    def abort(self) -> None:
        """Cut it off, whatever waits to be sent."""

    def limit(self) -> None:
        """Let the kernel cut it off when nothing was taken for the stall timeout."""

    def direct(self, send: Send) -> Writer | None:
        """Return the way to write to it past this `send`, None if that was not tested."""


class Writer(Protocol):
    """The way to one socket. What is written after `close` is not sent."""

    @property
    def is_full(self) -> bool:
        """Whether the peer reads so slowly that too much waits to be sent."""

    def write(self, message: EncodedFrame) -> bool:
        """
        Send a frame, in order, without making the caller wait.

        Returns False, and sends nothing, to a peer that is full.
        """

    def close(self, code: int) -> None:
        """Close the socket behind what was written before."""


class DirectWriter:
    """What the direct ways have in common: the close goes by ASGI, which knows the handshake."""

    __slots__ = ("_closing", "_connection", "_most", "_send")

    def __init__(self, send: Send, connection: ServerTransport) -> None:
        self._send = send
        self._connection = connection
        self._most = conf.MAX_UNSENT
        self._closing: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        return self._connection.unsent() > self._most

    def close(self, code: int) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(code))
            cut_off_soon(self._connection)

    async def _close(self, code: int) -> None:
        try:
            await self._send({"type": "websocket.close", "code": int(code)})
        except Exception as error:
            logger.debug("A socket could not be closed: %r", error)


def set_user_timeout(connection: Any) -> None:
    """Set the kernel's own limit, which Linux has; `connection` is None of one that was lost."""
    if connection is None or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    milliseconds = int(conf.STALL_TIMEOUT * 1000)
    with suppress(OSError):  # a socket of another kind, or gone
        # Counts while data is not acknowledged, and while the peer's window is closed.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def cut_off_soon(connection: ServerTransport | None) -> None:
    """Cut off a peer that does not read; nothing is done to one that has taken the close."""
    if connection:
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, connection.abort)


_logged: set[str] = set()
_versions: dict[str, bool] = {}


def is_tested(package: str) -> bool:
    if package not in _versions:
        try:
            installed = version(package)
        except PackageNotFoundError:
            installed = ""
        _versions[package] = installed.startswith(TESTED[package])
        if not _versions[package]:
            log_once(f"Frames are written by ASGI send: {package} {installed} was not tested.")
    return _versions[package]


def log_once(text: str) -> None:
    if text not in _logged:
        _logged.add(text)
        logger.info(text)
