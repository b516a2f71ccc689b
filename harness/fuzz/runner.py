"""The app's runner, which is Daphne, with connections in memory."""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import dataclass
from typing import Any, Final

from daphne.access import AccessLogGenerator
from daphne.ws_protocol import WebSocketFactory
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from notifications.server import Server
from notifications.servers.daphne_server import RequestFactory

CLIENT: Final = IPv4Address("TCP", "127.0.0.1", 50000)
SERVER: Final = IPv4Address("TCP", "127.0.0.1", 80)
ANSWER_TIMEOUT_SECONDS: Final = 10.0
_failure: Any = Failure
ENDED: Final = _failure(ConnectionDone())


@dataclass(frozen=True)
class Answer:
    status: int
    location: str
    scope: dict[str, Any] | None  # None if the server itself answered
    logged: list[str]


class Runner:
    """As with --root-path and --proxy-headers."""

    def __init__(self, application: Any, root_path: str) -> None:
        self.root_path = root_path
        self._application = application
        self._scope: dict[str, Any] | None = None
        self._log = io.StringIO()
        self._server = Server(
            self._run,
            endpoints=["in memory"],
            root_path=root_path,
            proxy_forwarded_address_header="X-Forwarded-For",
            proxy_forwarded_port_header="X-Forwarded-Port",
            proxy_forwarded_proto_header="X-Forwarded-Proto",
            action_logger=AccessLogGenerator(self._log),
        )
        # As Server.run() does before the event loop runs.
        self._server.connections = {}
        self._server.http_factory = RequestFactory(self._server)
        self._server.ws_factory = WebSocketFactory(self._server)
        self._server.prepare()

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        self._scope = scope
        await self._application(scope, receive, send)

    async def answer(self, request: bytes) -> Answer:
        """Send the bytes, which are one request at most."""
        self._scope = None
        untyped: Any = StringTransport
        begin = self._log.tell()
        transport: Any = untyped(SERVER, CLIENT)
        connection: Any = self._server.http_factory.buildProtocol(CLIENT)
        connection.makeConnection(transport)
        connection.dataReceived(request)
        running = [
            details["application_instance"]
            for details in self._server.connections.values()
            if "application_instance" in details
        ]
        if running:
            await asyncio.wait_for(asyncio.gather(*running), ANSWER_TIMEOUT_SECONDS)
        connection.connectionLost(ENDED)
        self._server.connections.clear()
        head = transport.value().partition(b"\r\n\r\n")[0].decode("latin-1")
        location = re.search(r"^location: (.*?)\r?$", head, re.IGNORECASE | re.MULTILINE)
        self._log.seek(begin)
        return Answer(
            int(head.split()[1]) if head else 0,
            location[1] if location else "",
            self._scope,
            self._log.read().splitlines(),
        )
