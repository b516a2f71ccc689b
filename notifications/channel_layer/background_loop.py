"""
Runs coroutines for threads, on an event loop in the background of the process or on the hub's.

`async_to_sync` would create a loop for each call, and the channel layer a Redis connection for each
loop: ten times the cost of sending the envelope. And the loop that a thread works for may end
before the coroutine does. anyio's BlockingPortal keeps a loop in a thread as well, but a forked
process would wait for that thread for ever, and anyio is not installed with Channels.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
Loop = asyncio.AbstractEventLoop

SHUTDOWN_SECONDS: Final = 2.0  # for running coroutines, when the process exits

_lock = threading.Lock()
_threads: dict[int, _LoopThread] = {}  # by process id: a fork has the loop, but not its thread
_started: set[asyncio.Task[None]] = set()  # event loops keep only weak references to tasks
_hub_loops: WeakKeyDictionary[Loop, int] = WeakKeyDictionary()  # with their process ids


def run(coroutine: Coroutine[Any, Any, T], timeout: float, loop: Loop | None = None) -> T:
    """
    Return the result of a coroutine that runs in the background, or on `loop`.

    Raises TimeoutError after `timeout` seconds.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, loop or _background_thread().loop)
    try:
        return future.result(timeout)
    except TimeoutError:
        future.cancel()
        raise


def start(function: Callable[[], Coroutine[Any, Any, None]], loop: Loop | None = None) -> None:
    """
    Start a coroutine function in the background, or on `loop`, and return at once.

    Coroutines that one thread starts on a loop begin in that order. An exiting process waits
    up to SHUTDOWN_SECONDS for those in the background.
    """

    def start_task() -> None:
        task = target.create_task(function())
        _started.add(task)
        task.add_done_callback(_started.discard)

    target = loop or _background_thread().loop
    target.call_soon_threadsafe(start_task)


def hub_opened() -> None:
    """Remember that the running loop is a hub's."""
    _hub_loops[asyncio.get_running_loop()] = os.getpid()


def hub_closed() -> None:
    _hub_loops.pop(asyncio.get_running_loop(), None)


def hub_loop() -> Loop | None:
    """Return the loop of this process's hub, the newest if there are several, or None."""
    pid = os.getpid()
    for loop, owner in reversed(list(_hub_loops.items())):
        # In a fork, the parent's loop also seems to be running.
        if owner == pid and loop.is_running():
            return loop
    return None


class _Loop(asyncio.SelectorEventLoop):
    """
    An event loop that looks up host names itself.

    asyncio uses a thread pool, which is closed when a process ends, and in Python 3.12 fails to
    close once more. A slow lookup holds up other servers' envelopes, but nobody who waits.
    """

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        return socket.getaddrinfo(host, port, **options)


class _LoopThread(threading.Thread):
    def __init__(self) -> None:
        super().__init__(name="notifications-loop", daemon=True)
        self._runner = asyncio.Runner(loop_factory=_Loop)
        self.loop = self._runner.get_loop()
        self._ending = asyncio.Event()

    def run(self) -> None:
        with self._runner as runner:  # also closes the channel layer's connections
            runner.run(self._run_until_ending())

    async def _run_until_ending(self) -> None:
        await self._ending.wait()
        if mine := [task for task in _started.copy() if task.get_loop() is self.loop]:
            await asyncio.wait(mine, timeout=SHUTDOWN_SECONDS)

    def end(self, pid: int) -> None:
        if pid == os.getpid() and self.is_alive():
            self.loop.call_soon_threadsafe(self._ending.set)
            self.join(2 * SHUTDOWN_SECONDS)


def _background_thread() -> _LoopThread:
    with _lock:
        pid = os.getpid()
        if pid not in _threads:
            thread = _threads[pid] = _LoopThread()
            thread.start()
            atexit.register(thread.end, pid)
        return _threads[pid]
