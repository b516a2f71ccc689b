"""The demo site as ASGI application, with one path more: how long its event loop is held."""

from __future__ import annotations

import asyncio
import time
from typing import Final
from urllib.parse import parse_qs

from harness.benchmarks import HELD_PATH
from harness.site import site_with
from notifications.servers.tuning import tune_process

STEP: Final = 0.0005  # seconds between two looks at the clock
MOST: Final = 30.0  # seconds


async def _held(query: bytes) -> dict[str, float]:
    seconds = float(parse_qs(query.decode())["seconds"][0])
    return {"held": await _longest_hold(min(seconds, MOST))}


async def _longest_hold(seconds: float) -> float:
    """The longest time that nothing else could run on this loop, in the next `seconds`."""
    longest = 0.0
    end = time.monotonic() + seconds
    while (before := time.monotonic()) < end:
        await asyncio.sleep(STEP)
        longest = max(longest, time.monotonic() - before - STEP)
    return longest


application = site_with(HELD_PATH, _held)
tune_process()  # as docs/deployment.md has it for uvicorn; the runner does it itself
