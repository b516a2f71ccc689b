"""
The parts that all writers share: a frame that is encoded once, and two interfaces.

ASGI's `send` takes several times the CPU time that the kernel takes for the
same bytes, because each server wraps, encodes and frames every message again.
A frame is the same bytes for all connections, so it is encoded once and, with a
server whose private parts were tested, written straight to its transport. With
any other server it goes through ASGI's `send`, as every close does.

ASGI doesn't report how many bytes wait to be sent, and can't cut a connection
off either. A client that never reads doesn't answer a close, and bytes that wait to
be sent to it keep its connection open for good.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from functools import cache
from typing import Any, ClassVar, Final, Protocol

from notifications.adapters import Adapter
from notifications.conf import conf

CLOSE_SECONDS: Final = 5.0  # for a client to answer a close, before its connection is cut off

Send = Callable[[dict[str, Any]], Awaitable[None]]


class EncodedFrame:
    """A text frame, encoded once for all connections: RFC 6455, section 5.2, unmasked and whole."""

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


class Treatment(Enum):
    """How a server treats a client's frame that the application doesn't see."""

    ANSWER = 1
    IGNORE = 2  # a ping gets no pong
    STOP = 3  # read nothing more


class FrameCounter(Protocol):
    """
    Counts frames of one client that ASGI doesn't report.

    These are pings, pongs, and all parts of a message but the last.
    """

    def count_frame(self) -> Treatment: ...


class Writer(Protocol):
    """Writes frames to one connection. Nothing is sent after `close`."""

    @property
    def is_full(self) -> bool:
        """Whether the client reads so slowly that too many bytes wait to be sent."""

    def write(self, frame: EncodedFrame) -> bool:
        """
        Send a frame, in order, without making the caller wait.

        Returns False, and sends nothing, if the connection is full, or the frame above MAX_UNSENT.
        """

    def close(self, code: int) -> None:
        """Close the connection after the frames that were written before."""


class ServerTransport(ABC):
    """
    The TCP connection below a WebSocket, with a server whose private parts were tested.

    An error in a private part is noted by the server's adapter, and does nothing else.
    """

    __slots__ = ()
    adapter: ClassVar[Adapter]

    def unsent(self) -> int:
        """Return how many bytes the server holds because the kernel did not take them."""
        try:
            return self._unsent()
        except Exception as error:
            self.adapter.note(error)
            return 0

    def abort(self) -> None:
        """Cut the connection off, and drop what waits to be sent."""
        try:
            self._abort()
        except Exception as error:
            self.adapter.note(error)

    def limit(self, counter: FrameCounter | None) -> None:
        """
        Set what ASGI can't: how long the client may read nothing, and how much it may send.

        After the stall timeout, the kernel cuts the connection off.
        """
        try:
            self._limit()
            if counter:
                self._count(counter)
        except Exception as error:
            self.adapter.note(error)

    def direct(self, send: Send) -> Writer | None:
        """Return a writer that bypasses this `send`, None if there is none for the transport."""
        return None

    @abstractmethod
    def _unsent(self) -> int: ...

    @abstractmethod
    def _abort(self) -> None: ...

    @abstractmethod
    def _limit(self) -> None: ...

    @abstractmethod
    def _count(self, counter: FrameCounter) -> None: ...


@cache
def extended(kind: Any, extend: Callable[[Any], Any]) -> Any:
    """
    Return the class that `extend` makes of a server's class, for `thing.__class__ = …`.

    So new methods cost a connection no memory, and other connections of the process have none of
    them. It has to inherit from the old class alone, or Python refuses the assignment.
    """
    extension = extend(kind)
    extension.__name__, extension.__module__ = kind.__name__, kind.__module__
    return extension


def set_user_timeout(connection: Any) -> None:
    """Set the kernel's own limit, which only Linux has. `connection` may be None or lost."""
    if connection is None or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    milliseconds = int(conf.STALL_TIMEOUT * 1000)
    with suppress(OSError):  # a socket of another kind, or closed
        # Counts while data is not acknowledged, and while the client's window is closed.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def cut_off_soon(cut_off: Callable[[], None]) -> None:
    """Cut off a client if it does not answer a close in time."""
    asyncio.get_running_loop().call_later(CLOSE_SECONDS, cut_off)
