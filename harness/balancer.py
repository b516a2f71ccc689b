"""A load balancer for tests: one port in front of several servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from harness.listener import listener


@contextmanager
def balancer(port: int, servers: Sequence[int]) -> Iterator[str]:
    """Forward each connection to the first loopback port that accepts it; yield the URL."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for server_port in servers:
            with suppress(OSError):
                server_reader, server_writer = await asyncio.open_connection(
                    "127.0.0.1", server_port
                )
                try:
                    await asyncio.gather(_pump(reader, server_writer), _pump(server_reader, writer))
                finally:
                    server_writer.close()
                return

    with listener(port, forward):
        yield f"http://127.0.0.1:{port}"


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(64 * 1024):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass  # one side closed, so the other is closed too
    finally:
        sink.close()
