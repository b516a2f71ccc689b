"""A load balancer for tests: one port before several servers, whichever of them takes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress


@contextmanager
def balancer(port: int, servers: Sequence[int]) -> Iterator[str]:
    """Pass connections on to the first of these loopback ports that accepts; give the URL."""
    started, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(pass_on, "127.0.0.1", port)
        started.set()
        with suppress(asyncio.CancelledError):
            await server.serve_forever()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for server in servers:
            with suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", server)
                await asyncio.gather(pump(reader, back), pump(there, writer))
                return
        writer.close()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(64 * 1024):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # one end is gone, and so the other goes
        finally:
            sink.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serving)

    serving = serve()
    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10), "the balancer did not start"
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        tasks = asyncio.run_coroutine_threadsafe(_cancel_all(), loop)
        tasks.result(10)
        thread.join(10)


async def _cancel_all() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
