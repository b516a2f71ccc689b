"""The demo site as ASGI application, with one path more: what this process holds."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from channels.layers import get_channel_layer

from harness.site import site_with
from harness.soak import PATH

PAGE: Final = os.sysconf("SC_PAGE_SIZE")


async def _answer(query: bytes) -> dict[str, int]:
    if query == b"uncollected":
        return {"objects": len(gc.get_objects())}
    return held(with_objects=query == b"objects")


def held(with_objects: bool) -> dict[str, int]:
    """Return how many there are of each; counting the objects takes a fraction of a second."""
    from notifications.hub.hub import get_hub  # needs the apps loaded

    hub = get_hub()
    layer: Any = get_channel_layer()
    counts = {
        "files": len(os.listdir("/proc/self/fd")),
        # The loop has a few for looking up hosts, which it starts when it needs them and keeps.
        "threads": sum(not each.name.startswith("asyncio_") for each in threading.enumerate()),
        "tasks": len(asyncio.all_tasks()),
        "sockets": len(hub._connections),
        "accounts": len(hub._accounts),
        "groups": len(layer.groups),
        "channels": len(layer.channels),
    }
    if with_objects:
        gc.collect()
        counts["objects"] = len(gc.get_objects())
        counts["blocks"] = sys.getallocatedblocks()
        _give_back()
    # The last: what was counted before is over.
    counts["memory"] = _memory()
    return counts


def _memory() -> int:
    """Return how many bytes of its memory are in use (RSS)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def _give_back() -> None:
    """Let glibc give back what it keeps of what was freed."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


application = site_with(PATH, _answer)
