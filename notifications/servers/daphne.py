"""Daphne's private parts, and those of Twisted and Autobahn below it."""

from __future__ import annotations

from typing import Any, Final

from .base import DirectWriter, EncodedFrame, Send, is_tested, set_user_timeout


class DaphneTransport:
    __slots__ = ("protocol", "transport")

    @classmethod
    def of(cls, send: Any) -> DaphneTransport | None:
        """Return the connection that this ASGI `send` belongs to, None if it is not Daphne's."""
        # Daphne's `send` is partial(server.handle_reply, protocol).
        protocol: Any = next(iter(getattr(send, "args", ())), None)
        if type(protocol).__module__ != "daphne.ws_protocol":
            return None
        transport = protocol.transport
        while transport and not hasattr(transport, "dataBuffer"):  # TLS is a transport above
            transport = getattr(transport, "transport", None)
        return cls(protocol, transport) if transport else None

    def __init__(self, protocol: Any, transport: Any) -> None:
        self.protocol = protocol
        self.transport = transport

    def unsent(self) -> int:
        transport = self.transport
        unsent: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return unsent

    def abort(self) -> None:
        self.protocol.dropConnection(abort=True)

    def limit(self) -> None:
        set_user_timeout(getattr(self.transport, "socket", None))

    def direct(self, send: Send) -> DaphneWriter | None:
        transport = self.protocol.transport
        kind = f"{type(transport).__module__}.{type(transport).__name__}"
        if kind != "twisted.internet.tcp.Server" or transport.TLS:
            return None
        if not (is_tested("daphne") and is_tested("twisted")):
            return None
        return DaphneWriter(send, self)


class DaphneWriter(DirectWriter):
    """
    Daphne over TCP, without TLS.

    Twisted's own `transport.write` costs five times the send: it waits for the
    reactor to find the socket writable. So the socket is written at once if
    nothing waits before, and Twisted gets what the kernel does not take.
    """

    __slots__ = ("_protocol", "_socket", "_transport")

    _OPEN: Final = 3  # autobahn's WebSocketProtocol.STATE_OPEN

    def __init__(self, send: Send, connection: DaphneTransport) -> None:
        super().__init__(send, connection)
        self._protocol = connection.protocol
        self._transport = connection.transport
        # None is left of a connection that was lost meanwhile, and nothing is written to it.
        self._socket: Any = getattr(connection.transport, "socket", None)

    def write(self, message: EncodedFrame) -> bool:
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
