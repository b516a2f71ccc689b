"""
Bodies of HTTP requests with Daphne: on disk above 64 KiB, and no longer than a maximum.

Daphne takes a body to its end before it starts the application, and then puts all of it into the
application's queue. Twisted parses forms, although the application does that as well. Here, Daphne
finds large bodies empty, the application reads them from disk, as fast as it likes, and Twisted
sees no form.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any, Final

# First: importing it installs Twisted's asyncio reactor.
import daphne.server  # isort: skip  # noqa: F401
from daphne.http_protocol import WebRequest
from twisted.internet import reactor as twisted_reactor
from twisted.web.http import HTTPChannel

from notifications.adapters import differences

logger = logging.getLogger(__name__)
reactor: Any = twisted_reactor  # its type is wrong in Twisted's stubs

MAX_IN_MEMORY: Final = 64 * 1024
PART_SIZE: Final = 64 * 1024  # of the parts that the application gets
# How long the rest of a refused body is read and dropped. A client whose connection is closed
# while it sends may not see the answer.
LINGER_SECONDS: Final = 2.0
REFUSALS: Final = {
    400: ("Bad Request", "A WebSocket handshake must not have a body."),
    413: ("Content Too Large", "The body is longer than this server accepts."),
}

Receive = Callable[[], Awaitable[dict[str, Any]]]


class Body:
    """A body that Twisted writes and the application reads. To Daphne it is empty."""

    def __init__(self) -> None:
        self._file: SpooledTemporaryFile[bytes] | None = None
        self._unread = 0
        self._has_begun = False
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        if self._file is None:
            self._file = SpooledTemporaryFile(MAX_IN_MEMORY)  # noqa: SIM115
        self._file.write(data)
        self.size += len(data)

    def read(self, size: int = -1) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def tell(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True
        if self._file:
            self._file.close()
            self._file = None

    async def receive(self, receive: Receive) -> dict[str, Any]:
        """Return the next event: a part of the body, and then those of Daphne's `receive`."""
        if not self._has_begun:
            self._has_begun = True
            event = await receive()  # Daphne's, with an empty body
            if not self.size or event["type"] != "http.request":
                return event
            self._unread = self.size
            if self._file:
                self._file.seek(0)
        elif self._unread:
            await asyncio.sleep(0)  # for other connections
        if not self._unread or not self._file:
            return await receive()  # the whole body was read, or the client has disconnected
        part = self._file.read(PART_SIZE)
        self._unread -= len(part)
        if not self._unread:
            self.close()
        return {"type": "http.request", "body": part, "more_body": self._unread > 0}


class Request(WebRequest):  # type: ignore[misc]  # Daphne has no types
    """A request that is refused if its body is too long, or if it has one and must not."""

    _refused_with = 0  # a status
    _content_type: Sequence[bytes] = ()

    def gotLength(self, length: int | None) -> None:
        """Twisted has read the headers; `length` is None if the body comes in chunks."""
        if length is None or length > MAX_IN_MEMORY:
            self.content: Any = Body()
        else:
            super().gotLength(length)
        if length != 0 and self._is_handshake():
            self._refuse(400)
        elif length is not None and self._is_too_long(length):
            self._refuse(413)

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused_with:
            return
        if isinstance(self.content, Body) and self._is_too_long(self.content.size + len(data)):
            self._refuse(413)
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Twisted has read the whole request."""
        if not self._refused_with:
            # Or Twisted would parse forms, and cut off those whose charset it can't read.
            self._content_type = self.requestHeaders.getRawHeaders(b"Content-Type", [])
            self.requestHeaders.removeHeader(b"Content-Type")
            super().requestReceived(command, path, version)
        elif self._is_alone:
            # Never another request after one that was refused: its body may only look as if it
            # had ended.
            self.channel.loseConnection()
        else:  # a stream of HTTP/2
            self.method, self.uri, self.clientproto = command, path, version
            self.path = path.partition(b"?")[0]
            title, text = REFUSALS[self._refused_with]
            self.basic_error(self._refused_with, title.encode(), text)

    def process(self) -> Any:
        """Twisted is about to run the application."""
        if self._content_type:
            self.requestHeaders.setRawHeaders(b"Content-Type", self._content_type)
        return super().process()

    @property
    def _is_alone(self) -> bool:
        """Whether this is HTTP/1, where a connection has one request at a time."""
        return isinstance(self.channel, HTTPChannel)

    def _is_handshake(self) -> bool:
        upgrade = self.requestHeaders.getRawHeaders(b"Upgrade")
        return bool(upgrade) and upgrade[0].lower() == b"websocket"

    def _is_too_long(self, size: int) -> bool:
        max_body: int | None = self.server.max_body
        return max_body is not None and size > max_body

    def _refuse(self, status: int) -> None:
        """Answer at once, and drop what is still to come of the body."""
        title, text = REFUSALS[status]
        logger.info("Refused a request: %d %s", status, title)
        self._refused_with = status
        self.content.close()
        self.requestHeaders.removeHeader(b"Expect")  # or Twisted would ask for the body
        if not self._is_alone:
            return
        transport = self.channel.transport
        transport.write(
            f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(text) + 1}\r\n\r\n{text}\n".encode()
        )
        reactor.callLater(LINGER_SECONDS, self._cut_off)

    def _cut_off(self) -> None:
        if self.channel is not None:  # the connection was not lost meanwhile
            self.channel.transport.abortConnection()


def find_differences() -> list[str]:
    """Return how the parts that are used here differ from the tested ones, as text."""
    return differences(
        WebRequest,
        basic_error=Callable,
        gotLength=Callable,
        handleContentChunk=Callable,
        requestReceived=Callable,
    )


def body_receiver(receive: Receive, send: Any) -> Receive:
    """Return the `receive` for the request that Daphne's `receive` and `send` belong to."""
    # Daphne's `send` is partial(server.handle_reply, request).
    args = getattr(send, "args", None)
    body = getattr(args[0], "content", None) if args else None
    return partial(body.receive, receive) if isinstance(body, Body) else receive
