"""A loopback port whose connections are handled in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@contextmanager
def listener(port: int, handle: Handle) -> Iterator[None]:
    """
    Handle each connection to a loopback port in a task.

    A connection is closed once its handler returns. On exit, the remaining ones are aborted.
    """
    loop = asyncio.new_event_loop()
    started, stopping = threading.Event(), asyncio.Event()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_listen(port, handle, started, stopping))

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10), "the listener did not start"
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        assert not thread.is_alive(), "the listener did not stop"


async def _listen(
    port: int, handle: Handle, started: threading.Event, stopping: asyncio.Event
) -> None:
    handled: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer))
        handled[task] = writer
        task.add_done_callback(lambda task: handled.pop(task).close())

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    started.set()
    await stopping.wait()
    # asyncio leaks a connection that it accepted but has not attached when the server closes:
    # Server._attach asserts that the server is open, and the error is swallowed.
    for socket in server.sockets:
        asyncio.get_running_loop().remove_reader(socket)
    await asyncio.sleep(0)
    server.close()
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task, writer in handled.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.wait(tasks, timeout=0.1)
