"""The most that the load generator takes, from a server that does nothing but send."""

from __future__ import annotations

import socket
from typing import Any, Final

from harness.benchmarks.load import MARK, LoadGenerator
from harness.frames import upgrade_request
from harness.remote import Remote
from harness.services import free_port

SOCKETS: Final = 1000
ROUNDS: Final = 100
PAYLOAD: Final = (b'{"type":"%s","content":{"body":"' % MARK).ljust(198, b"x") + b'"}'
FRAME: Final = b"\x81\x7e" + len(PAYLOAD).to_bytes(2, "big") + PAYLOAD
WELCOME: Final = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + b"\x81\x13" + b'{"type":"register"}'


class Flood:
    """Takes connections, then writes ready-made frames to all of them."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=SOCKETS)
        self._connections: list[socket.socket] = []

    def accept(self, count: int) -> None:
        self._listener.settimeout(10)
        for _ in range(count):
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(4096)
            connection.sendall(WELCOME)
            self._connections.append(connection)

    def send(self, rounds: int, frames: int) -> None:
        """Write `frames` at a time to each socket, `rounds` times."""
        data = FRAME * frames
        for _ in range(rounds):
            for connection in self._connections:
                connection.sendall(data)


def ceiling() -> dict[str, float]:
    """Messages per second, when each read brings one, and when it brings eight."""
    port = free_port()
    found = {}
    with Remote(Flood, port) as flood, Remote(LoadGenerator) as load:
        flood.begin("accept", SOCKETS)
        load.call("connect", [(port, upgrade_request(port, "/", {}))] * SOCKETS)
        flood.finish()
        for frames in (1, 8):
            rounds = ROUNDS // frames
            load.call("forget")
            load.begin("collect", SOCKETS * rounds * frames, 30.0)
            flood.call("send", rounds, frames)
            counted: dict[str, Any] = load.finish()
            # By its own CPU time: the server that floods it is slower than it is.
            found[f"{frames} per read"] = counted["messages"] / counted["cpu"]
            found[f"{frames} per read, seen"] = counted["messages"] / counted["seconds"]
    return found
