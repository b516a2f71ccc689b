"""An ASGI application that writes to whoever connects until no more is taken, and counts it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from notifications.servers.base import EncodedFrame
from notifications.servers.detect import open_writer

MOST = 32_000_000  # bytes
TOLD = EncodedFrame("x" * 16_000)

counted: dict[str, int] = {}


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        # In a list, which is true: an answer to /healthz as well.
        await send({"type": "http.response.body", "body": json.dumps([counted]).encode()})
        return
    await receive()
    await send({"type": "websocket.accept"})
    transport = open_writer(send)
    taken = 0
    while taken < MOST and transport.write(TOLD):
        taken += len(TOLD.wire)
        await asyncio.sleep(0)
    counted["taken"] = taken
    await receive()
