"""What the targets that open connections share."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from asgiref.testing import ApplicationCommunicator

from harness.fuzz.site import Site
from harness.fuzz.targets.base import ANSWER_TIMEOUT_SECONDS, ORIGIN
from harness.session import SOCKET_PATH

HEADERS: Final = {b"host": b"testserver", b"origin": ORIGIN.encode()}


class Connections:
    """Base of the targets that open connections, one at a time, in one event loop."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._loop = asyncio.new_event_loop()

    def __call__(self, data: bytes) -> None:
        self._loop.run_until_complete(self._try(data))
        self._site.check_log()

    async def _try(self, data: bytes) -> None:
        raise NotImplementedError

    async def open(self, query: bytes, headers: dict[bytes, bytes]) -> Any:
        """Begin a handshake as alice, with further or other headers."""
        cookie = f"sessionid={self._site.session}".encode()
        scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": SOCKET_PATH,
            "query_string": query,
            "headers": list({**HEADERS, b"cookie": cookie, **headers}.items()),
            "client": ["127.0.0.1", 1],
            "server": ["testserver", 80],
            "subprotocols": [],
        }
        untyped: Any = ApplicationCommunicator
        connection = untyped(self._site.application, scope)
        await connection.send_input({"type": "websocket.connect"})
        return connection


async def next_frame(connection: Any) -> dict[str, Any]:
    """Return the frame that the connection receives next; no other message may come before it."""
    message = await connection.receive_output(ANSWER_TIMEOUT_SECONDS)
    frame: dict[str, Any] = json.loads(message["text"])
    return frame
