"""The demo site's ASGI application, with one more path that reports what this process holds."""

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

from harness.site import site_with_report
from harness.soak import REPORT_PATH

PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


async def _report(query: bytes) -> dict[str, int]:
    if query == b"uncollected":
        return {"objects": len(gc.get_objects())}
    return held(with_objects=query == b"objects")


def held(with_objects: bool) -> dict[str, int]:
    """Return the counts by name. Counting objects takes a fraction of a second."""
    from notifications.hub.hub import get_hub  # needs the apps loaded

    hub = get_hub()
    layer: Any = get_channel_layer()
    counts = {
        "files": len(os.listdir("/proc/self/fd")),
        # The event loop starts a few to resolve hosts, and keeps them.
        "threads": sum(not each.name.startswith("asyncio_") for each in threading.enumerate()),
        "tasks": len(asyncio.all_tasks()),
        "connections": len(hub._connections),
        "accounts": len(hub._accounts),
        "groups": len(layer.groups),
        "channels": len(layer.channels),
    }
    if with_objects:
        gc.collect()
        counts["objects"] = len(gc.get_objects())
        counts["blocks"] = sys.getallocatedblocks()
        _trim_memory()
    # Last, so that the memory used for counting is free again.
    counts["memory"] = _memory()
    return counts


def _memory() -> int:
    """Return the resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_SIZE


def _trim_memory() -> None:
    """Make glibc return free memory to the system."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


application = site_with_report(REPORT_PATH, _report)
