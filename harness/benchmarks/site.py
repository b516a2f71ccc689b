"""The demo site as ASGI application, with one path more: how long its event loop is held."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Final
from urllib.parse import parse_qs

from harness.benchmarks import HELD_PATH
from notify_site.asgi import application as site

STEP: Final = 0.0005  # seconds between two looks at the clock
MOST: Final = 30.0  # seconds


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == HELD_PATH:
        seconds = float(parse_qs(scope["query_string"].decode())["seconds"][0])
        await _answer(send, {"held": await _longest_hold(min(seconds, MOST))})
    else:
        await site(scope, receive, send)


async def _longest_hold(seconds: float) -> float:
    """The longest time that nothing else could run on this loop, in the next `seconds`."""
    longest = 0.0
    end = time.monotonic() + seconds
    while (before := time.monotonic()) < end:
        await asyncio.sleep(STEP)
        longest = max(longest, time.monotonic() - before - STEP)
    return longest


async def _answer(send: Any, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
