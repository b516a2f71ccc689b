"""An ASGI application that reads each request's body, as fast as it comes, and describes it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import django

# As a site's application does; without it, the runner would not get as far as its hub.
django.setup()


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await asyncio.sleep(60)  # as if the database did not answer
        return
    digest, size, longest = hashlib.sha256(), 0, 0
    event = {"more_body": True}
    while event.get("more_body"):
        event = await receive()
        digest.update(body := event.get("body", b""))
        size, longest = size + len(body), max(longest, len(body))
    result = {"size": size, "sha256": digest.hexdigest(), "longest": longest}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(result).encode()})
