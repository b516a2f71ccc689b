"""uvicorn's private parts."""

from __future__ import annotations

from typing import Any, Final

from .base import DirectWriter, EncodedFrame, Send, is_tested, set_user_timeout

# A message of a client is a few bytes; uvicorn's own limit is up to 16 MiB.
MAX_MESSAGE_SIZE: Final = 64 * 1024


class UvicornTransport:
    __slots__ = ("protocol",)

    @classmethod
    def of(cls, send: Any) -> UvicornTransport | None:
        """Return the connection that this ASGI `send` belongs to, None if it is not uvicorn's."""
        protocol: Any = getattr(send, "__self__", None)  # uvicorn's `send` is a method
        if type(protocol).__module__.startswith("uvicorn.protocols.websockets"):
            return cls(protocol)
        return None

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol

    def unsent(self) -> int:
        unsent: int = self.protocol.transport.get_write_buffer_size()
        return unsent

    def abort(self) -> None:
        self.protocol.transport.abort()

    def limit(self) -> None:
        set_user_timeout(self.protocol.transport.get_extra_info("socket"))
        self.protocol.conn.max_message_size = MAX_MESSAGE_SIZE

    def direct(self, send: Send) -> UvicornWriter | None:
        is_known = type(self.protocol).__name__ == "WebSocketsSansIOProtocol"
        return UvicornWriter(send, self) if is_known and is_tested("uvicorn") else None


class UvicornWriter(DirectWriter):
    """uvicorn with its websockets-sansio protocol; asyncio's transport sends at once."""

    __slots__ = ("_protocol", "_transport")

    def __init__(self, send: Send, connection: UvicornTransport) -> None:
        super().__init__(send, connection)
        self._protocol = connection.protocol
        self._transport = connection.protocol.transport

    def write(self, message: EncodedFrame) -> bool:
        protocol = self._protocol
        transport = self._transport
        if self._closing or protocol.close_sent or transport.is_closing():
            return True
        # uvicorn clears it when asyncio's buffer is high: cheaper to ask than the size.
        if not protocol.writable.is_set() and self.is_full:
            return False
        transport.write(message.wire)
        return True
