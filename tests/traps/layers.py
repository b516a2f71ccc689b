from __future__ import annotations

import asyncio
from typing import Any

Layer = Any
MESSAGE = {"type": "notify"}


async def receive_all(
    layer: Layer, channel: str, timeout: float = 1, min_count: int = 0
) -> list[dict[str, Any]]:
    """Receive until nothing arrives for `timeout` seconds; wait longer for `min_count` messages."""
    found: list[dict[str, Any]] = []
    try:
        while True:
            async with asyncio.timeout(timeout if len(found) >= min_count else 10):
                found.append(await layer.receive(channel))
    except TimeoutError:
        return found
