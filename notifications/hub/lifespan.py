"""The hub begins and ends with a server that tells when it does, as uvicorn does."""

from __future__ import annotations

from typing import Any

from .hub import get_hub, stop_hub


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """ASGI's `lifespan`: run the periodic task from the start; leave the registry in the end."""
    await receive()  # lifespan.startup
    get_hub()
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    await stop_hub()
    await send({"type": "lifespan.shutdown.complete"})
