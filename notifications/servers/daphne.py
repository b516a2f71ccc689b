"""Private parts of Daphne, and of Twisted and Autobahn below it, that belong to a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sized
from contextlib import suppress
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

DAPHNE: Final = Adapter(
    Versions("daphne", "4.2.2", "4.2"),
    Versions("twisted", "24.7", "26.10"),
    Versions("autobahn", "24.4.2", "26.11"),
    off="Frames are sent through ASGI, which takes more CPU time; memory for clients that read "
    "slowly is not limited, nor are pings, and bodies of requests are kept in memory.",
    check_id="notifications.W028",
)
MAX_LAYERS: Final = 5  # of transports above TCP; TLS has one or two
# Of the protocol's class: Daphne's own, and that of our runner.
MODULES: Final = {"daphne.ws_protocol", "notifications.servers.daphne_server"}
CLOSE, PING = 8, 9  # opcodes


class DaphneTransport(ServerTransport):
    __slots__ = ("protocol", "transport")
    adapter = DAPHNE

    @classmethod
    def of(cls, send: Any) -> DaphneTransport | None:
        """Return the transport of Daphne's `send`, None for any other or with the adapter off."""
        # Daphne's `send` is partial(server.handle_reply, protocol).
        args = getattr(send, "args", None)
        protocol: Any = args[0] if args and isinstance(args, tuple) else None
        if type(protocol).__module__ not in MODULES or not DAPHNE.is_on:
            return None
        transport = _lowest(getattr(protocol, "transport", None))
        if transport is None:
            return None  # the connection was lost
        fits = DAPHNE.fits(
            protocol, transport, differences=lambda: _differences(protocol, transport)
        )
        return cls(protocol, transport) if fits else None

    def __init__(self, protocol: Any, transport: Any) -> None:
        self.protocol = protocol
        self.transport = transport

    def direct(self, send: Send) -> DaphneWriter | None:
        transport = self.protocol.transport
        kind = f"{type(transport).__module__}.{type(transport).__name__}"
        if kind != "twisted.internet.tcp.Server" or getattr(transport, "TLS", True):
            return None
        return DaphneWriter(send, self)

    def _unsent(self) -> int:
        transport = self.transport
        unsent: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return unsent

    def _abort(self) -> None:
        self.protocol.dropConnection(abort=True)

    def _limit(self) -> None:
        set_user_timeout(getattr(self.transport, "socket", None))

    def _count(self, counter: FrameCounter) -> None:
        kind: Any = type(self.protocol)
        self.protocol.frame_counter = counter
        self.protocol.__class__ = extended(kind, counting)


def counting(kind: Any) -> Any:
    """Extend Autobahn's protocol: count frames as they are read, before any answer."""

    class Counting(kind):  # type: ignore[misc]
        current_frame: Any

        def onFrameEnd(self) -> Any:
            header = self.current_frame
            if header.opcode <= CLOSE and header.fin:
                return super().onFrameEnd()
            treatment = self.frame_counter.count_frame()
            if treatment is Treatment.STOP:
                self.data = b""  # hundreds of frames may have arrived with this one
                self.transport.pauseProducing()
                return False
            if treatment is Treatment.IGNORE and header.opcode == PING:
                self.current_frame = None
                return None
            return super().onFrameEnd()

    return Counting


class DaphneWriter(DirectWriter):
    """
    Daphne over TCP, without TLS.

    Twisted's own `transport.write` takes five times as long as the kernel's
    send, because it waits until the reactor finds the socket writable. So if
    nothing waits, the frame goes to the socket at once, and Twisted gets the
    rest that the kernel does not take.
    """

    __slots__ = ("_open", "_protocol", "_socket", "_transport")

    def __init__(self, send: Send, transport: DaphneTransport) -> None:
        super().__init__(send, transport)
        self._protocol = transport.protocol
        self._transport = transport.transport
        self._open = transport.protocol.STATE_OPEN
        # None if the connection was lost before; then the protocol is not open.
        self._socket: Any = getattr(transport.transport, "socket", None)

    def write(self, frame: EncodedFrame) -> bool:
        if self._asgi:
            return self._asgi.write(frame)
        wire, sent = frame.wire, 0
        if len(wire) > self._max_unsent:
            return False
        try:
            protocol = self._protocol
            if protocol.state != self._open:
                return True
            transport = self._transport
            if transport._tempDataBuffer or transport.dataBuffer or protocol.send_queue:
                if self.is_full:
                    return False
                protocol.sendData(wire)
                return True
            try:
                sent = self._socket.send(wire)
            except OSError:
                sent = 0  # full, or lost: Twisted finds out which
            if sent < len(wire):
                transport.write(wire[sent:])
        except Exception as error:
            if sent:
                # No frame can follow half of another: the client reconnects and catches up.
                self._cut_off()
            return self._write_through_asgi(frame, error)
        return True

    def _cut_off(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def _differences(protocol: Any, transport: Any) -> list[str]:
    return differences(
        protocol,
        STATE_OPEN=int,
        onFrameEnd=Callable,
        dropConnection=Callable,
        send_queue=Sized,
        sendData=Callable,
        state=int,
    ) + differences(
        transport,
        _tempDataBuffer=list,
        _tempDataLen=int,
        dataBuffer=bytes,
        offset=int,
        write=Callable,
    )


def _lowest(transport: Any) -> Any:
    """Return the transport that holds the socket, below those of TLS."""
    for _ in range(MAX_LAYERS):
        if hasattr(transport, "dataBuffer") or not hasattr(transport, "transport"):
            break
        transport = transport.transport
    return transport
