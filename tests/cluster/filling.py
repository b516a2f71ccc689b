"""An ASGI application that writes to a client until the writer refuses, and counts the bytes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from notifications.servers.base import EncodedFrame
from notifications.servers.detect import open_writer

MAX_BYTES = 32_000_000
FRAME = EncodedFrame("x" * 16_000)

counted: dict[str, int] = {}


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        # In a list, which is truthy, so that it also serves as /healthz.
        await send({"type": "http.response.body", "body": json.dumps([counted]).encode()})
        return
    await receive()
    await send({"type": "websocket.accept"})
    writer = open_writer(send)
    taken = 0
    while taken < MAX_BYTES and writer.write(FRAME):
        taken += len(FRAME.wire)
        await asyncio.sleep(0)
    counted["taken"] = taken
    await receive()
