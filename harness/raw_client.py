"""A client that speaks bytes: for what no WebSocket library sends, and for not reading."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress
from typing import Any

from harness.frames import CLOSE, TEXT, reset_when_closed, upgrade_request
from harness.visitor import PATIENCE, Visitor


def upgrade(port: int, cookie: str = "", query: str = "", headers: bytes = b"") -> bytes:
    """Return the handshake of a tab of the site."""
    own = {"Origin": f"http://127.0.0.1:{port}", "Cookie": cookie}
    return upgrade_request(port, f"/ws/notifications/{query}", own, headers)


class RawClient:
    """One TCP connection; its kernel keeps about `receive_buffer` bytes that were not read."""

    def __init__(self, port: int, receive_buffer: int = 0, host: str = "127.0.0.1") -> None:
        self.port = port
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
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
        assert self.shake_hands(upgrade(self.port, visitor.cookie_header)) == 101
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
        reset_when_closed(self.socket)
        self.close()
