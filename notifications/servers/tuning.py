"""
Settings of a process that holds thousands of connections.

They affect the whole process, so they are only made by the app's own server, and by sites that
call `tune_process()` themselves.
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

# A connection is hundreds of objects. With Python's default of 700, the garbage collector visits
# thousands of long-lived connections again and again, and 10,000 of them hold the event loop for
# half a second. Visiting 20,000 new objects takes it 50 ms.
GC_THRESHOLD: Final = 5_000
# How long a busy database thread keeps the event loop waiting.
SWITCH_SECONDS: Final = 0.001
MIN_OPEN_FILES: Final = 4096  # each connection is one


@cache
def tune_process() -> None:
    """Tune this process, once. Call this when everything is imported."""
    gc.freeze()  # code, and the objects that imports made, are not collected
    gc.set_threshold(GC_THRESHOLD)
    sys.setswitchinterval(SWITCH_SECONDS)
    _allow_files()


def _allow_files() -> None:
    """
    Raise this process's limit of open files as far as allowed.

    Systems start processes with 1024, for programs that call select(), which can't handle more.
    """
    if sys.platform == "win32":
        return  # has no such limit
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # macOS: the kernel's own limit may be lower
        resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
    if 0 <= maximum < MIN_OPEN_FILES:  # -1 is no limit
        logger.warning(
            "This process may open %d files, and each connection is one: raise its limit "
            "(LimitNOFILE= in systemd, ulimit -Hn in a shell).",
            maximum,
        )
