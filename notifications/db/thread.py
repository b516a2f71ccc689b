"""
Database work in a thread of its own, so that it does not wait for other queries.

asgiref's sync_to_async(executor=…) would work too, but takes one and a half times the CPU time: it
copies the caller's context, which no call here needs. A ThreadSensitiveContext's thread ends with
the block that opened it.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from django.db import DatabaseError, connections

from .connections import leave_pools

MAX_BATCH: Final = 500  # calls answered by one run
# Between two runs: one costs hardly more for many calls than for a single one.
GATHER_SECONDS: Final = 0.02
CLOSE_SECONDS: Final = 1.0  # for a thread to close its connections

T = TypeVar("T")


class DatabaseThread:
    """
    One thread with its own database connections; calls run one after another.

    The connections stay open, whatever CONN_MAX_AGE says: that is for requests. So is a pool.

    It is a daemon: a process that exits waits for those of an executor, and so for a database that
    does not answer.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._is_closed = False
        # Without a reference to this object, which need not be closed.
        threading.Thread(target=_work, args=[self._calls], name=name, daemon=True).start()
        weakref.finalize(self, self._calls.put, None)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the function's result. Lost connections are closed first, and so reopened."""
        if self._is_closed:
            raise RuntimeError("This thread has been closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put(partial(_answer, loop, future, function, *arguments))
        return await future

    async def close(self) -> None:
        """Close the connections and end the thread; one that waits for the database ends later."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.run(connections.close_all)
        self._is_closed = True
        self._calls.put(None)


def _work(calls: SimpleQueue[Callable[[], None] | None]) -> None:
    leave_pools()
    while call := calls.get():
        call()
        del call  # with its arguments, instead of keeping them until the next one
    connections.close_all()


def _answer(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[T],
    function: Callable[..., T],
    *arguments: Any,
) -> None:
    if future.cancelled():
        return
    try:
        settle = partial(_settle, future, future.set_result, _run(function, *arguments))
    except BaseException as error:
        settle = partial(_settle, future, future.set_exception, error)
    with suppress(RuntimeError):  # the loop has been closed
        loop.call_soon_threadsafe(settle)


def _settle(future: asyncio.Future[T], settle: Callable[[Any], None], outcome: Any) -> None:
    if not future.done():
        settle(outcome)


def _run(function: Callable[..., T], *arguments: Any) -> T:
    for connection in connections.all(initialized_only=True):
        is_open = connection.connection is not None and not connection.in_atomic_block
        if is_open and not connection.is_usable():
            connection.close()  # the next query opens another
    return function(*arguments)


class Batched:
    """
    Answers concurrent calls with one run of a function for all of them.

    The first call after a pause runs at once. Calls during a run, and for GATHER_SECONDS after it,
    share the next one. The function takes a list and returns a list of the same length.
    """

    def __init__(self, thread: DatabaseThread, function: Callable[[list[Any]], list[Any]]) -> None:
        self._thread = thread
        self._function = function
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: Any) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:MAX_BATCH]
                del self._waiting[:MAX_BATCH]
                await self._answer(batch)
                await asyncio.sleep(GATHER_SECONDS)
        finally:
            self._task = None

    async def _answer(self, batch: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        try:
            results = await self._thread.run(self._function, [item for item, _ in batch])
        except DatabaseError as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        except Exception as error:
            if len(batch) == 1 and not batch[0][1].done():
                batch[0][1].set_exception(error)
            # A call that fails must not fail the others.
            for single in batch if len(batch) > 1 else ():
                await self._answer([single])
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
