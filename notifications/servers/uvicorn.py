"""Private parts of uvicorn, and of websockets below it, that belong to a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import NoneType
from typing import Any, Final

from notifications.adapters import Adapter, Versions, differences

from .base import EncodedFrame, Send, ServerTransport, set_user_timeout
from .direct import DirectWriter

UVICORN: Final = Adapter(
    Versions("uvicorn", "0.52.1", "0.54"),
    Versions("websockets", "16", "17.4"),
    off="Frames are sent through ASGI, which takes more CPU time, a client that does not read "
    "is not cut off, and --ws-max-size alone limits what a client may send.",
    check_id="notifications.W028",
)
# A client's frame is a few bytes; uvicorn's own limit is 16 MiB.
MAX_MESSAGE_SIZE: Final = 64 * 1024

SANS_IO: Final = "websockets_sansio_impl.WebSocketsSansIOProtocol"
# By --ws: the part of the protocol that limits the size of a client's message, and its attribute.
SIZE_LIMITS: Final = {
    SANS_IO: ("conn", "max_message_size"),
    "websockets_impl.WebSocketProtocol": (None, "max_size"),
    "wsproto_impl.WSProtocol": ("buffer", "max_length"),
}
PACKAGE: Final = "uvicorn.protocols.websockets."


class UvicornTransport(ServerTransport):
    __slots__ = ("implementation", "protocol")
    adapter = UVICORN

    @classmethod
    def of(cls, send: Any) -> UvicornTransport | None:
        """Return the transport of uvicorn's `send`, None for any other or with the adapter off."""
        protocol: Any = getattr(send, "__self__", None)  # uvicorn's `send` is a method
        name = f"{type(protocol).__module__}.{type(protocol).__name__}"
        if not name.startswith(PACKAGE) or not UVICORN.is_on:
            return None
        transport = cls(protocol, name.removeprefix(PACKAGE))
        fits = UVICORN.fits(protocol, differences=transport.find_differences)
        return transport if fits else None

    def __init__(self, protocol: Any, implementation: str) -> None:
        self.protocol = protocol
        self.implementation = implementation

    def direct(self, send: Send) -> UvicornWriter | None:
        return UvicornWriter(send, self) if self.implementation == SANS_IO else None

    def find_differences(self) -> list[str]:
        """Return how the parts that are used here differ from the tested ones, as text."""
        protocol = self.protocol
        if self.implementation not in SIZE_LIMITS:
            return [f"{self.implementation} is not known"]
        found = differences(
            getattr(protocol, "transport", None),
            abort=Callable,
            get_extra_info=Callable,
            get_write_buffer_size=Callable,
            is_closing=Callable,
            write=Callable,
        )
        holder, attribute = self._size_limit()
        found += differences(holder, **{attribute: (int, NoneType)})
        if self.implementation == SANS_IO:
            found += differences(protocol, close_sent=bool, writable=asyncio.Event)
        return found

    def _size_limit(self) -> tuple[Any, str]:
        part, attribute = SIZE_LIMITS[self.implementation]
        return (getattr(self.protocol, part, None) if part else self.protocol), attribute

    def _unsent(self) -> int:
        unsent: int = self.protocol.transport.get_write_buffer_size()
        return unsent

    def _abort(self) -> None:
        self.protocol.transport.abort()

    def _limit(self) -> None:
        set_user_timeout(self.protocol.transport.get_extra_info("socket"))
        holder, attribute = self._size_limit()
        limit = getattr(holder, attribute)
        if limit is None or limit > MAX_MESSAGE_SIZE:
            setattr(holder, attribute, MAX_MESSAGE_SIZE)


class UvicornWriter(DirectWriter):
    """uvicorn with --ws websockets-sansio; asyncio's transport sends at once."""

    __slots__ = ("_protocol", "_transport")

    def __init__(self, send: Send, transport: UvicornTransport) -> None:
        super().__init__(send, transport)
        self._protocol = transport.protocol
        self._transport = transport.protocol.transport

    def write(self, frame: EncodedFrame) -> bool:
        if self._asgi:
            return self._asgi.write(frame)
        if len(frame.wire) > self._max_unsent:
            return False
        try:
            protocol, transport = self._protocol, self._transport
            if protocol.close_sent or transport.is_closing():
                return True
            # uvicorn clears `writable` when asyncio's buffer is high; testing that is cheap.
            if not protocol.writable.is_set() and self.is_full:
                return False
            transport.write(frame.wire)
        except Exception as error:
            return self._write_through_asgi(frame, error)
        return True
