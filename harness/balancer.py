"""A load balancer for tests: one port before several servers, whichever of them takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from harness.listener import listener


@contextmanager
def balancer(port: int, servers: Sequence[int]) -> Iterator[str]:
    """Pass connections on to the first of these loopback ports that accepts; give the URL."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for server in servers:
            with suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", server)
                try:
                    await asyncio.gather(_pump(reader, back), _pump(there, writer))
                finally:
                    back.close()
                return

    with listener(port, pass_on):
        yield f"http://127.0.0.1:{port}"


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(64 * 1024):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass  # one end is gone, and so the other goes
    finally:
        sink.close()
