"""
A prebuilt frame on its way to a socket.

ASGI's `send` costs several times what the kernel takes for the same bytes,
because each server wraps, encodes and frames every message again. A frame is
the same bytes for all sockets, so it is built once and written straight to the
server's transport, where the server is one whose insides were tested. Any other
server is written to by ASGI `send`, and so is the close of any.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Protocol

from notifications.conf import conf

from .tcp import Connection, connection_of

logger = logging.getLogger(__name__)

# By ASGI everything waits for a turn of the event loop, also for a peer that reads.
ASGI_ROOM: Final = 16  # times as much as may be unsent
CLOSING: Final = 5.0  # seconds for a peer to take the close, before its connection is cut off

# Servers whose insides are used here, by the versions that the tests ran with.
TESTED: Final = {"daphne": ("4.2",), "twisted": ("26",), "uvicorn": ("0.54",)}

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Message:
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


class Transport(Protocol):
    """The way to one socket. What is written after `close` is not sent."""

    @property
    def is_full(self) -> bool:
        """Whether the peer reads so slowly that too much waits to be sent."""

    def write(self, message: Message) -> bool:
        """
        Send a frame, in order, without making the caller wait.

        Returns False, and sends nothing, to a peer that is full.
        """

    def close(self, code: int) -> None:
        """Close the socket behind what was written before."""


def open_transport(send: Send) -> Transport:
    """Return the fastest tested way to the socket that this ASGI `send` belongs to."""
    connection = connection_of(send)
    if connection:
        connection.limit()
    if conf.DIRECT_WRITES:
        transport = _DaphneTransport.of(send) or _UvicornTransport.of(send)
        if transport:
            return transport
        _log_once("Frames are written by ASGI send: this server's transport is not known.")
    return _AsgiTransport(send, connection)


class _AsgiTransport:
    """For any server; a task lives only while something waits."""

    __slots__ = ("_closed", "_connection", "_most", "_send", "_task", "_unsent", "_waiting")

    def __init__(self, send: Send, connection: Connection | None) -> None:
        self._send = send
        self._connection = connection
        self._most = ASGI_ROOM * conf.MAX_UNSENT
        self._waiting: deque[dict[str, Any]] = deque()
        self._unsent = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_full(self) -> bool:
        # Daphne takes whatever it is given, and holds it.
        held = self._connection.unsent() if self._connection else 0
        return self._unsent + held > self._most

    def write(self, message: Message) -> bool:
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
            _cut_off_soon(self._connection)

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


class _DirectTransport:
    """What the direct ways have in common: the close goes by ASGI, which knows the handshake."""

    __slots__ = ("_closing", "_most", "_send")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._most = conf.MAX_UNSENT
        self._closing: asyncio.Task[None] | None = None

    def close(self, code: int) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(code))
            _cut_off_soon(connection_of(self._send))

    async def _close(self, code: int) -> None:
        try:
            await self._send({"type": "websocket.close", "code": int(code)})
        except Exception as error:
            logger.debug("A socket could not be closed: %r", error)


class _DaphneTransport(_DirectTransport):
    """
    Daphne over TCP, without TLS.

    Twisted's own `transport.write` costs five times the send: it waits for the
    reactor to find the socket writable. So the socket is written at once if
    nothing waits before, and Twisted gets what the kernel does not take.
    """

    __slots__ = ("_protocol", "_socket", "_transport")

    _OPEN: Final = 3  # autobahn's WebSocketProtocol.STATE_OPEN

    @classmethod
    def of(cls, send: Any) -> _DaphneTransport | None:
        # Daphne's `send` is partial(server.handle_reply, protocol).
        protocol: Any = next(iter(getattr(send, "args", ())), None)
        if type(protocol).__module__ != "daphne.ws_protocol":
            return None
        transport = protocol.transport
        kind = f"{type(transport).__module__}.{type(transport).__name__}"
        if kind != "twisted.internet.tcp.Server" or transport.TLS:
            return None
        if not (_is_tested("daphne") and _is_tested("twisted")):
            return None
        return cls(send, protocol)

    def __init__(self, send: Send, protocol: Any) -> None:
        super().__init__(send)
        self._protocol = protocol
        self._transport = protocol.transport
        # None is left of a connection that was lost meanwhile, and nothing is written to it.
        self._socket: Any = getattr(protocol.transport, "socket", None)

    @property
    def is_full(self) -> bool:
        transport = self._transport
        unsent: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return unsent > self._most

    def write(self, message: Message) -> bool:
        protocol = self._protocol
        if self._closing or protocol.state != self._OPEN:
            return True
        wire = message.wire
        transport = self._transport
        if transport._tempDataBuffer or transport.dataBuffer or protocol.send_queue:
            if self.is_full:
                return False
            protocol.sendData(wire)
            return True
        try:
            sent = self._socket.send(wire)
        except OSError:
            sent = 0  # full, or gone: Twisted finds out which
        if sent < len(wire):
            transport.write(wire[sent:])
        return True


class _UvicornTransport(_DirectTransport):
    """uvicorn with its websockets-sansio protocol; asyncio's transport sends at once."""

    __slots__ = ("_protocol", "_transport")

    @classmethod
    def of(cls, send: Any) -> _UvicornTransport | None:
        protocol: Any = getattr(send, "__self__", None)
        if type(protocol).__name__ != "WebSocketsSansIOProtocol" or not _is_tested("uvicorn"):
            return None
        return cls(send, protocol)

    def __init__(self, send: Send, protocol: Any) -> None:
        super().__init__(send)
        self._protocol = protocol
        self._transport = protocol.transport

    @property
    def is_full(self) -> bool:
        unsent: int = self._transport.get_write_buffer_size()
        return unsent > self._most

    def write(self, message: Message) -> bool:
        protocol = self._protocol
        transport = self._transport
        if self._closing or protocol.close_sent or transport.is_closing():
            return True
        # uvicorn clears it when asyncio's buffer is high: cheaper to ask than the size.
        if not protocol.writable.is_set() and self.is_full:
            return False
        transport.write(message.wire)
        return True


def _cut_off_soon(connection: Connection | None) -> None:
    """Cut off a peer that does not read; nothing is done to one that has taken the close."""
    if connection:
        asyncio.get_running_loop().call_later(CLOSING, connection.abort)


_logged: set[str] = set()
_versions: dict[str, bool] = {}


def _is_tested(package: str) -> bool:
    if package not in _versions:
        try:
            installed = version(package)
        except PackageNotFoundError:
            installed = ""
        _versions[package] = installed.startswith(TESTED[package])
        if not _versions[package]:
            _log_once(f"Frames are written by ASGI send: {package} {installed} was not tested.")
    return _versions[package]


def _log_once(text: str) -> None:
    if text not in _logged:
        _logged.add(text)
        logger.info(text)
