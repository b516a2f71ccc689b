from __future__ import annotations

import asyncio
from typing import Any

Layer = Any
MESSAGE = {"type": "notify"}


async def all_of(
    layer: Layer, channel: str, timeout: float = 1, least: int = 0
) -> list[dict[str, Any]]:
    """Return what is received until nothing comes for so long; so many are waited for longer."""
    found: list[dict[str, Any]] = []
    try:
        while True:
            async with asyncio.timeout(timeout if len(found) >= least else 10):
                found.append(await layer.receive(channel))
    except TimeoutError:
        return found
