"""A client of raw bytes, which can send invalid frames and stop reading. No library can."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress
from typing import Any

from harness.frames import CLOSE, TEXT, reset_when_closed, upgrade_request
from harness.session import SOCKET_PATH
from harness.visitor import TIMEOUT_SECONDS, Visitor


def handshake_request(port: int, cookie: str = "", query: str = "", headers: bytes = b"") -> bytes:
    """Return the HTTP request with which a tab of the site opens its WebSocket."""
    own = {"Origin": f"http://127.0.0.1:{port}", "Cookie": cookie}
    return upgrade_request(port, f"{SOCKET_PATH}{query}", own, headers)


class RawClient:
    """One TCP connection, whose kernel buffers about `receive_buffer` unread bytes."""

    def __init__(self, port: int, receive_buffer: int = 0, host: str = "127.0.0.1") -> None:
        self.port = port
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.connect((host, port))
        self._rest = b""

    def do_handshake(self, request: bytes) -> int:
        """Send the request; return the status of the response, 0 if there is none."""
        self.send(request)
        while b"\r\n\r\n" not in self._rest:
            if not (data := self._read()):
                return 0
            self._rest += data
        headers, self._rest = self._rest.split(b"\r\n\r\n", 1)
        return int(headers.split()[1])

    def open_tab(self, visitor: Visitor) -> RawClient:
        assert self.do_handshake(handshake_request(self.port, visitor.cookie_header)) == 101
        return self

    def send(self, data: bytes) -> None:
        """Send the data, or as much of it as the server reads before it closes the connection."""
        with suppress(ConnectionError):
            self.socket.sendall(data)

    def receive(self) -> tuple[int, bytes] | None:
        """Return the opcode and payload of the next frame; None once the connection has ended."""
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

    def receive_frames(self, until: str | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """
        Return the frames up to one of the type `until`, or up to the close, and the close code.

        The code is None if the connection is still open or ended without one.
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
        """End the connection with a TCP reset and no close frame."""
        reset_when_closed(self.socket)
        self.close()
