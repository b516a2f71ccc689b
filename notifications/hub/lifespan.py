"""Starts and stops the hub with a server that supports ASGI's lifespan events, as uvicorn does."""

from __future__ import annotations

from typing import Any

from .hub import get_hub, stop_hub


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Run the hub, and with it the periodic task, from the server's start to its stop."""
    await receive()  # lifespan.startup
    get_hub()
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    await stop_hub()
    await send({"type": "lifespan.shutdown.complete"})
