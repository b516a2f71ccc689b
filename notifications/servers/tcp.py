"""
The TCP connection below a socket, where the server is one whose insides are known.

ASGI tells neither how much waits to be sent nor cuts a connection off, and a
peer that never reads does not take a close either: what a server has still to
send keeps its connection open for good.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any, Final, Protocol

from notifications.conf import conf

# A message of a client is a few bytes; a server's own limit is up to 16 MiB.
LONGEST_MESSAGE: Final = 64 * 1024


class Connection(Protocol):
    def unsent(self) -> int:
        """Bytes that the server holds because the kernel did not take them."""

    def abort(self) -> None:
        """Cut it off, whatever waits to be sent."""

    def limit(self) -> None:
        """Let the kernel cut it off when nothing was taken for the stall timeout."""


def connection_of(send: Any) -> Connection | None:
    """Return the connection that this ASGI `send` belongs to, None if the server is unknown."""
    # Daphne's `send` is partial(server.handle_reply, protocol), uvicorn's a method.
    protocol: Any = next(iter(getattr(send, "args", ())), getattr(send, "__self__", None))
    module = type(protocol).__module__
    if module == "daphne.ws_protocol":
        transport = protocol.transport
        while transport and not hasattr(transport, "dataBuffer"):  # TLS is a transport above
            transport = getattr(transport, "transport", None)
        return _DaphneConnection(protocol, transport) if transport else None
    if module.startswith("uvicorn.protocols.websockets"):
        return _UvicornConnection(protocol)
    return None


class _DaphneConnection:
    def __init__(self, protocol: Any, transport: Any) -> None:
        self._protocol = protocol
        self._transport = transport

    def unsent(self) -> int:
        transport = self._transport
        unsent: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return unsent

    def abort(self) -> None:
        self._protocol.dropConnection(abort=True)

    def limit(self) -> None:
        _limit(getattr(self._transport, "socket", None))


class _UvicornConnection:
    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def unsent(self) -> int:
        unsent: int = self._protocol.transport.get_write_buffer_size()
        return unsent

    def abort(self) -> None:
        self._protocol.transport.abort()

    def limit(self) -> None:
        _limit(self._protocol.transport.get_extra_info("socket"))
        self._protocol.conn.max_message_size = LONGEST_MESSAGE


def _limit(connection: Any) -> None:
    """Set the kernel's own limit, which Linux has; `connection` is None of one that was lost."""
    if connection is None or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    milliseconds = int(conf.STALL_TIMEOUT * 1000)
    with suppress(OSError):  # a socket of another kind, or gone
        # Counts while data is not acknowledged, and while the peer's window is closed.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
