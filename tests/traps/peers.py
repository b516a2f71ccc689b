"""The servers under test, with a common interface."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from harness.benchmarks.peers import GoServer as GoPeer
from harness.services import Service, free_port, site_environment
from harness.session import SOCKET_PATH
from harness.visitor import Visitor


class Peer(Service):
    """A server on the loopback interface."""

    name: str
    path: str
    ready_frame = "register"  # after this frame, live updates reach the connection

    def __init__(self, command: list[Any], directory: Path, env: dict[str, str]) -> None:
        super().__init__(command, directory, env=site_environment(env))

    def answers(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        return True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def visitor(self, name: str) -> Visitor | None:
        """Return a logged-in visitor; None if the server has no log-in."""
        return Visitor().log_in(self.url, name)

    @contextmanager
    def open(
        self,
        visitor: Visitor | None,
        *,
        origin: str | None = "",
        path: str = "",
        query: dict[str, Any] | None = None,
        **options: Any,
    ) -> Iterator[ClientConnection]:
        """Open a connection, by default with the site's own origin."""
        cookie = visitor.cookie_header if visitor else ""
        with connect(
            f"ws://127.0.0.1:{self.port}{path or self.path}?{urlencode(query or {})}",
            origin=self.url if origin == "" else origin,
            additional_headers={"Cookie": cookie} if cookie else None,
            compression=None,
            max_size=None,
            **options,
        ) as connection:
            yield connection

    @contextmanager
    def open_ready(self, visitor: Visitor | None, **options: Any) -> Iterator[ClientConnection]:
        """Open a connection, and wait until live updates reach it."""
        with self.open(visitor, **options) as connection:
            assert receive(connection, self.ready_frame)
            yield connection

    def send(self, name: str, body: str, size: int = 0) -> None:
        self._get(f"/send/{self.name}/{name}/?{urlencode({'body': body, 'size': size})}")

    def broadcast_to_all(self, body: str, size: int = 0) -> None:
        self.send("everyone", body, size)

    def _get(self, path: str, method: str = "GET", content: str = "") -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, content)
            response = connection.getresponse()
            assert response.status == 200, response.read()
        finally:
            connection.close()


class Plain(Peer):
    """The tutorial's consumer on Daphne."""

    name = "plain"
    path = "/ws/plain/"

    def __init__(self, directory: Path, env: dict[str, str], flags: str = "") -> None:
        self.port = free_port()
        options = f"-m daphne {flags} -b 127.0.0.1 -p {self.port} tests.traps.asgi:application"
        super().__init__([sys.executable, *options.split()], directory, env)


class Ours(Peer):
    name = "ours"
    path = SOCKET_PATH
    ready_frame = "heartbeat"

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self.port = free_port()
        options = f"-m notifications.server -b 127.0.0.1 -p {self.port}"
        command = [sys.executable, *options.split(), "notify_site.asgi:application"]
        super().__init__(command, directory, env)


class GoServer(Peer):
    """The benchmarks' Go server. It trusts the account that a client names."""

    name = "go"
    path = "/ws"

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        super().__init__(list(GoPeer().command(self.port)), directory, {})

    def visitor(self, name: str) -> None:
        return None

    def open(
        self, visitor: Visitor | None, **options: Any
    ) -> AbstractContextManager[ClientConnection]:
        return super().open(visitor, **{"query": {"user_id": "alice"}, **options})

    def send(self, name: str, body: str, size: int = 0) -> None:
        self._get(f"/push?account={name}", "POST", body.ljust(size, "x"))

    def broadcast_to_all(self, body: str, size: int = 0) -> None:
        self._get("/broadcast", "POST", body.ljust(size, "x"))


def refusal(peer: Peer, visitor: Visitor | None, **options: Any) -> int | None:
    """Return the HTTP status that refuses a handshake; None if it is accepted."""
    try:
        with peer.open(visitor, **options):
            return None
    except InvalidStatus as refused:
        return refused.response.status_code


def receive(connection: ClientConnection, type: str, timeout: float = 10) -> Any:
    """Return the next frame of this type; None if none comes or the server closes."""
    end = time.monotonic() + timeout
    try:
        while True:
            frame = json.loads(connection.recv(timeout=max(0.0, end - time.monotonic())))
            if frame["type"] == type:
                return frame
    except (TimeoutError, ConnectionClosed):
        return None


def bodies(connection: ClientConnection, timeout: float = 1) -> list[str]:
    """Return the received bodies until nothing comes for `timeout` seconds."""
    found = []
    while frame := receive(connection, "bench", timeout):
        found.append(frame["content"]["body"].rstrip("x"))
    return found


def close_code(connection: ClientConnection, timeout: float = 5) -> int | None:
    """Return the server's close code, 1006 if it sends none, None if the connection stays open."""
    end = time.monotonic() + timeout
    try:
        while True:
            connection.recv(timeout=max(0.0, end - time.monotonic()))
    except TimeoutError:
        return None
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006
