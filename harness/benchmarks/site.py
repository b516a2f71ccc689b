"""The demo site's ASGI application, with a path that reports how long its loop is blocked."""

from __future__ import annotations

import asyncio
import time
from typing import Final
from urllib.parse import parse_qs

from harness.benchmarks import BLOCKED_PATH
from harness.site import site_with_report
from notifications.servers.tuning import tune_process

STEP_SECONDS: Final = 0.0005  # between two readings of the clock
MAX_SECONDS: Final = 30.0


async def _report(query: bytes) -> dict[str, float]:
    seconds = float(parse_qs(query.decode())["seconds"][0])
    return {"longest": await _longest_block(min(seconds, MAX_SECONDS))}


async def _longest_block(seconds: float) -> float:
    """Return the longest time that the loop is blocked, in the next `seconds`."""
    longest = 0.0
    end = time.monotonic() + seconds
    while (before := time.monotonic()) < end:
        await asyncio.sleep(STEP_SECONDS)
        longest = max(longest, time.monotonic() - before - STEP_SECONDS)
    return longest


application = site_with_report(BLOCKED_PATH, _report)
tune_process()  # for uvicorn, as in docs/deployment.md; the runner does it itself
