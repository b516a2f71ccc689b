"""WebSocket clients in bytes, and TCP connections that end without a word."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Final

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
HEARTBEAT: Final = b'{"type":"heartbeat"}'
RESET: Final = struct.pack("ii", 1, 0)


def frame(payload: bytes, opcode: int = TEXT, fin: bool = True, rsv: int = 0) -> bytes:
    """Return a frame as clients send it, masked with zeros, however wrong."""
    header = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if len(payload) < 126:
        header += bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        header += b"\xfe" + struct.pack("!H", len(payload))
    else:
        header += b"\xff" + struct.pack("!Q", len(payload))
    return header + bytes(4) + payload


def upgrade_request(
    port: int, path: str, headers: Mapping[str, str], more_headers: bytes = b""
) -> bytes:
    """Return the HTTP request of a handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n" + more_headers + b"\r\n"


def reset_when_closed(connection: socket.socket) -> None:
    """Let its close be a reset: nothing lingers, and the peer sees a connection that was cut."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
