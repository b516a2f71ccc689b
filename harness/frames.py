"""WebSocket frames and handshakes as bytes, and TCP connections that are reset."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Final

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
HEARTBEAT: Final = b'{"type":"heartbeat"}'
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def frame(payload: bytes, opcode: int = TEXT, fin: bool = True, rsv: int = 0) -> bytes:
    """Return a client's frame, masked with zeros. It may be invalid."""
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
    """Return the HTTP request that opens a WebSocket."""
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
    """Make `close()` reset the connection, so that the peer sees it cut."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
