"""A client that speaks bytes: for what no WebSocket library sends, and for not reading."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress
from typing import Any

from harness.visitor import Visitor

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
HEARTBEAT = b'{"type":"heartbeat"}'


def frame(payload: bytes, opcode: int = TEXT, fin: bool = True, rsv: int = 0) -> bytes:
    """Return a masked frame, however wrong."""
    header = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if len(payload) < 126:
        header += bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        header += b"\xfe" + struct.pack("!H", len(payload))
    else:
        header += b"\xff" + struct.pack("!Q", len(payload))
    return header + bytes(4) + payload  # masked by zeros


def cookie_of(visitor: Visitor) -> str:
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.cookies)


def upgrade(port: int, cookie: str = "", query: str = "", headers: bytes = b"") -> bytes:
    path = f"/ws/notifications/{query}"
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Origin: http://127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
        f"Cookie: {cookie}",
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n" + headers + b"\r\n"


class RawClient:
    """One TCP connection; its kernel keeps about `receive_buffer` bytes that were not read."""

    def __init__(self, port: int, receive_buffer: int = 0, host: str = "127.0.0.1") -> None:
        self.port = port
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10)
        self.socket.connect((host, port))
        self._rest = b""

    def shake_hands(self, request: bytes) -> int:
        """Return the status of the answer, 0 if the connection is ended without one."""
        self.send(request)
        while b"\r\n\r\n" not in self._rest:
            if not (data := self._read()):
                return 0
            self._rest += data
        head, self._rest = self._rest.split(b"\r\n\r\n", 1)
        return int(head.split()[1])

    def open_tab(self, visitor: Visitor) -> RawClient:
        assert self.shake_hands(upgrade(self.port, cookie_of(visitor))) == 101
        return self

    def send(self, data: bytes) -> None:
        """Send it all, or as much as the server takes until it ends the connection."""
        with suppress(ConnectionError):
            self.socket.sendall(data)

    def receive(self) -> tuple[int, bytes] | None:
        """Return the next frame, None at the end of the connection."""
        while True:
            if found := self._next():
                return found
            if not (data := self._read()):
                return None
            self._rest += data

    def _read(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except ConnectionError:
            return b""

    def _next(self) -> tuple[int, bytes] | None:
        data = self._rest
        if len(data) < 2:
            return None
        size, start = data[1] & 0x7F, 2
        if size == 126:
            if len(data) < 4:
                return None
            size, start = struct.unpack("!H", data[2:4])[0], 4
        elif size == 127:
            if len(data) < 10:
                return None
            size, start = struct.unpack("!Q", data[2:10])[0], 10
        if len(data) < start + size:
            return None
        self._rest = data[start + size :]
        return data[0] & 0x0F, data[start : start + size]

    def told(self, until: str | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """
        Return the frames up to one of the type `until`, or up to the close, with its code.

        The code is None of a connection that ended without one.
        """
        frames: list[dict[str, Any]] = []
        while (received := self.receive()) is not None:
            opcode, payload = received
            if opcode == CLOSE:
                return frames, struct.unpack("!H", payload[:2])[0]
            if opcode == TEXT:
                frames.append(json.loads(payload))
                if frames[-1]["type"] == until:
                    break
        return frames, None

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """End the connection without a word of TCP's either."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()
