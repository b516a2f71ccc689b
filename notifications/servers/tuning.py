"""
Settings of a process that holds thousands of connections.

They hold for all of the process, so that only the app's own runner makes them, and sites that call
`tune_process()` themselves.
"""

from __future__ import annotations

import gc
import logging
import sys
from contextlib import suppress
from functools import cache
from typing import Final

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

# A connection is hundreds of objects. With Python's 700, the garbage collector visits thousands of
# long-lived connections again and again: 10,000 of them hold the event loop for half a second. Its
# visit to 20,000 new objects takes 50 ms.
GC_THRESHOLD: Final = 5_000
# How long a database thread that computes keeps the event loop waiting, in seconds.
SWITCH_SECONDS: Final = 0.001
MIN_OPEN_FILES: Final = 4096  # each connection is one


@cache
def tune_process() -> None:
    """Tune this process, once. Call it when everything is imported."""
    gc.freeze()  # code, and the objects that imports made, are not collected
    gc.set_threshold(GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_SECONDS)
    _allow_files()


def _allow_files() -> None:
    """
    Let this process open as many files as it may.

    Systems start it with 1024, for programs that call select() and can't do with more.
    """
    if sys.platform == "win32":
        return  # has no such limit
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # macOS: the kernel's own limit may be lower
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if 0 <= most < MIN_OPEN_FILES:  # -1 is no limit
        logger.warning(
            "This process may open %d files, and each socket is one: raise its limit "
            "(LimitNOFILE= in systemd, ulimit -Hn in a shell).",
            most,
        )
