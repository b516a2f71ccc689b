"""The load generator's own limit, measured with a server that only sends."""

from __future__ import annotations

import socket
from typing import Any, Final

from harness.benchmarks.load import MARK, LoadGenerator
from harness.frames import upgrade_request
from harness.remote import Remote
from harness.services import free_port

CONNECTIONS: Final = 1000
ROUNDS: Final = 100
PAYLOAD: Final = (b'{"type":"%s","content":{"body":"' % MARK).ljust(198, b"x") + b'"}'
FRAME: Final = b"\x81\x7e" + len(PAYLOAD).to_bytes(2, "big") + PAYLOAD
REGISTER: Final = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + b"\x81\x13" + b'{"type":"register"}'


class Flood:
    """Accepts connections, then sends the same frames to all of them."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=CONNECTIONS)
        self._connections: list[socket.socket] = []

    def accept(self, count: int) -> None:
        self._listener.settimeout(10)
        for _ in range(count):
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(4096)
            connection.sendall(REGISTER)
            self._connections.append(connection)

    def send(self, rounds: int, frames: int) -> None:
        """Send `frames` at once to each connection, `rounds` times."""
        data = FRAME * frames
        for _ in range(rounds):
            for connection in self._connections:
                connection.sendall(data)


def ceiling() -> dict[str, float]:
    """Return messages per second with one and with eight messages per read."""
    port = free_port()
    found = {}
    with Remote(Flood, port) as flood, Remote(LoadGenerator) as load:
        flood.begin("accept", CONNECTIONS)
        load.call("connect", [(port, upgrade_request(port, "/", {}))] * CONNECTIONS)
        flood.finish()
        for frames in (1, 8):
            rounds = ROUNDS // frames
            load.call("forget")
            load.begin("collect", CONNECTIONS * rounds * frames, 30.0)
            flood.call("send", rounds, frames)
            counted: dict[str, Any] = load.finish()
            # By CPU time, because the sending server is slower than the load generator.
            found[f"{frames} per read"] = counted["messages"] / counted["cpu"]
            found[f"{frames} per read, wall time"] = counted["messages"] / counted["seconds"]
    return found
