"""
Coroutines run from threads: on the event loop of the ASGI server that the thread works for,
or else on one kept in the background, for commands, shells and WSGI workers.

There `async_to_sync` would make a loop for each call, and the channel layer a
Redis connection for each loop: ten times the cost of the message itself.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from asgiref.sync import SyncToAsync

T = TypeVar("T")

END: Final = 2.0  # seconds for the loop to end when the process does

_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process: a fork has the loop, not its thread


def run(coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
    """Return the coroutine's result; TimeoutError after `timeout` seconds."""
    loop = _servers_loop() or _background_loop()
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result(timeout)
    except TimeoutError:
        future.cancel()
        raise


def _servers_loop() -> asyncio.AbstractEventLoop | None:
    """Return the running loop that called this thread by sync_to_async, if one did."""
    caller = SyncToAsync.threadlocal
    loop: asyncio.AbstractEventLoop | None = getattr(caller, "main_event_loop", None)
    # After a fork the loop seems to be running, which it does in the parent.
    is_ours = getattr(caller, "main_event_loop_pid", None) == os.getpid()
    return loop if loop and is_ours and loop.is_running() else None


def _background_loop() -> asyncio.AbstractEventLoop:
    with _lock:
        pid = os.getpid()
        if pid not in _loops:
            loop = _loops[pid] = asyncio.new_event_loop()
            thread = threading.Thread(
                target=_run_until_stopped, args=[loop], name="notifications-loop", daemon=True
            )
            thread.start()
            atexit.register(_end, pid, loop, thread)
        return _loops[pid]


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()  # closes the layer's connections as well


def _end(pid: int, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if pid == os.getpid() and thread.is_alive():
        loop.call_soon_threadsafe(loop.stop)
        thread.join(END)
