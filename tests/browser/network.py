"""A bad network between browser and server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from harness.listener import listener

Condition = Literal["good", "dark", "portal page", "portal redirect", "no websockets"]

ANSWERS: dict[Condition, bytes] = {
    "portal page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 14\r\n"
    b"Connection: close\r\n\r\n<h1>Log in</h1>",
    "portal redirect": b"HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n",
    "no websockets": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}


class Network:
    def __init__(self, port: int, server: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._server = server
        self._condition: Condition = "good"
        self._links: set[Link] = set()

    def become(self, condition: Condition) -> None:
        """Change the condition, and cut all connections."""
        self._condition = condition
        self.cut()

    def cut(self) -> None:
        for link in list(self._links):
            link.loop.call_soon_threadsafe(link.close)

    def forget(self) -> None:
        """Drop everything that is sent over the present connections, without closing them."""
        for link in list(self._links):
            link.is_lost = True

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._condition == "dark":
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._server)
        link = Link(writer, back)
        self._links.add(link)
        try:
            await asyncio.gather(self._ask(link, reader), self._answer(link, there))
        finally:
            self._links.discard(link)
            link.close()

    async def _ask(self, link: Link, reader: asyncio.StreamReader) -> None:
        async for data in link.pump(reader):
            if answer := self._answer_instead(data):
                link.browser.write(answer)
                link.close()
            else:
                link.server.write(data)

    async def _answer(self, link: Link, reader: asyncio.StreamReader) -> None:
        async for data in link.pump(reader):
            link.browser.write(data)

    def _answer_instead(self, data: bytes) -> bytes | None:
        if self._condition == "no websockets" and b"Upgrade: websocket" not in data:
            return None
        return ANSWERS.get(self._condition)


class Link:
    def __init__(self, browser: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.browser = browser
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.is_lost = False

    async def pump(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        with suppress(OSError):
            while data := await reader.read(64 * 1024):
                if not self.is_lost:
                    yield data
        self.close()

    def close(self) -> None:
        self.browser.close()
        self.server.close()


@contextmanager
def network(port: int, server: int) -> Iterator[Network]:
    """Run a network that listens on the port, with the server behind it."""
    network = Network(port, server)
    with listener(port, network.connect):
        yield network
