"""Private parts of uvicorn, and of websockets below it, that belong to a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import NoneType
from typing import Any, Final

from notifications.adapters import Adapter, Versions, differences

from .base import (
    EncodedFrame,
    FrameCounter,
    Send,
    ServerTransport,
    Treatment,
    extended,
    set_user_timeout,
)
from .direct import DirectWriter

UVICORN: Final = Adapter(
    Versions("uvicorn", "0.52.1", "0.54"),
    Versions("websockets", "16", "17.4"),
    off="Frames are sent through ASGI, which takes more CPU time, a client that does not read "
    "is not cut off, and --ws-max-size alone limits what a client may send: pings are not counted.",
    check_id="notifications.W028",
)
# A client's frame is a few bytes; uvicorn's own limit is 16 MiB.
MAX_MESSAGE_SIZE: Final = 64 * 1024

# By --ws.
SANS_IO: Final = "websockets_sansio_impl.WebSocketsSansIOProtocol"
LEGACY: Final = "websockets_impl.WebSocketProtocol"
WSPROTO: Final = "wsproto_impl.WSProtocol"
# The part of the protocol that limits the size of a client's message, and its attribute.
SIZE_LIMITS: Final = {
    SANS_IO: ("conn", "max_message_size"),
    LEGACY: (None, "max_size"),
    WSPROTO: ("buffer", "max_length"),
}
PACKAGE: Final = "uvicorn.protocols.websockets."
CLOSE, PING = 8, 9  # opcodes


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
            pause_reading=Callable,
            write=Callable,
        )
        holder, attribute = self._size_limit()
        found += differences(holder, **{attribute: (int, NoneType)})
        part, _, parts = COUNTING[self.implementation]
        found += differences(self._part(part), **parts)
        if self.implementation == SANS_IO:
            found += differences(protocol, close_sent=bool, writable=asyncio.Event)
        return found

    def _size_limit(self) -> tuple[Any, str]:
        part, attribute = SIZE_LIMITS[self.implementation]
        return self._part(part), attribute

    def _part(self, name: str | None) -> Any:
        return getattr(self.protocol, name, None) if name else self.protocol

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

    def _count(self, counter: FrameCounter) -> None:
        part, extend, _ = COUNTING[self.implementation]
        reader = self._part(part)
        kind: Any = type(reader)
        # One attribute: with a second one, the connection of websockets would take 1.3 KB more.
        reader.counting = counter, self.protocol.transport
        reader.__class__ = extended(kind, extend)


def counting_sans_io(kind: Any) -> Any:
    """Extend the connection of the websockets library: count frames as they are parsed."""
    receive = kind.recv_frame  # `super()` would take as long as all the rest

    class Counting(kind):  # type: ignore[misc]
        def recv_frame(self, frame: Any) -> None:
            if frame.opcode > CLOSE or not frame.fin:
                counter, transport = self.counting
                treatment = counter.count_frame()
                if treatment is Treatment.STOP:
                    self.reader.discard()  # hundreds of frames may have arrived with this one
                    transport.pause_reading()
                    return
                if treatment is Treatment.IGNORE and frame.opcode == PING:
                    return
            receive(self, frame)

    return Counting


def counting_legacy(kind: Any) -> Any:
    """The same for --ws websockets, where a task reads one frame after another."""

    class Counting(kind):  # type: ignore[misc]
        async def read_frame(self, max_size: int | None) -> Any:
            while True:
                frame = await super().read_frame(max_size)
                if frame.opcode <= CLOSE and frame.fin:
                    return frame
                counter, transport = self.counting
                treatment = counter.count_frame()
                if treatment is Treatment.STOP:
                    transport.pause_reading()
                    await asyncio.shield(self.connection_lost_waiter)
                    raise EOFError
                if treatment is Treatment.ANSWER or frame.opcode != PING:
                    return frame

    return Counting


def counting_wsproto(kind: Any) -> Any:
    """The same for --ws wsproto, which hands on one event after another."""

    class Counting(kind):  # type: ignore[misc]
        def handle_events(self) -> None:
            with suppress(_Stopped):
                super().handle_events()

        def handle_ping(self, event: Any) -> None:
            if self.count_event() is Treatment.ANSWER:
                super().handle_ping(event)

        def handle_pong(self, event: Any) -> None:
            self.count_event()
            super().handle_pong(event)

        def handle_message(self, event: Any) -> None:
            # A frame that arrives in pieces is several events.
            if event.frame_finished and not event.message_finished:
                self.count_event()
            super().handle_message(event)

        def count_event(self) -> Treatment:
            counter, transport = self.counting
            treatment: Treatment = counter.count_frame()
            if treatment is Treatment.STOP:
                transport.pause_reading()
                raise _Stopped
            return treatment

    return Counting


class _Stopped(Exception):
    pass


# The part of the protocol that reads frames, its extension, and what that uses.
COUNTING: Final[dict[str, tuple[str | None, Callable[[Any], Any], dict[str, Any]]]] = {
    SANS_IO: ("conn", counting_sans_io, {"reader": object, "recv_frame": Callable}),
    LEGACY: (
        None,
        counting_legacy,
        {"connection_lost_waiter": asyncio.Future, "read_frame": Callable},
    ),
    WSPROTO: (
        None,
        counting_wsproto,
        {
            "handle_events": Callable,
            "handle_message": Callable,
            "handle_ping": Callable,
            "handle_pong": Callable,
        },
    ),
}


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
