"""Python's own settings for a process that holds thousands of sockets."""

from __future__ import annotations

import gc
import sys
from functools import cache
from typing import Final

# A connection is hundreds of objects. With Python's 700, the garbage collector looks again and
# again at thousands of connections that stay: 10,000 hold the event loop for half a second.
NEW_OBJECTS: Final = 20_000
# How long a database thread that computes keeps the event loop waiting, in seconds.
SWITCH_AFTER: Final = 0.001


@cache
def tune_process() -> None:
    """Tune this process, once; to be called when everything is imported."""
    gc.freeze()  # code, and what it made at its start, stays
    gc.set_threshold(NEW_OBJECTS)
    sys.setswitchinterval(SWITCH_AFTER)
