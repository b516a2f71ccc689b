"""
The callers: code that sends messages, in a process of its own.

Notify Site is called by its public API, plain Channels by the channel layer,
the others by HTTP. A message's body starts with the time of the call, as
`@<nanoseconds>@`, and is padded so that all frames have about the same size.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

FRAME_SIZE: Final = 200  # of the payload, approximately
TYPE: Final = "bench"
SEED: Final = 1  # of the random accounts and moments


def body(size: int) -> str:
    return f"@{time.monotonic_ns()}@".ljust(size, "x")


class Caller:
    """The base of all callers: when to call, and what it cost."""

    def __init__(self, env: dict[str, str]) -> None:
        os.environ.update(env)

    def broadcast(self, times: int = 1) -> dict[str, Any]:
        """Broadcast this many times without waiting; return the start and the time that it took."""
        started_at, cpu = time.monotonic(), time.process_time()
        for _ in range(times):
            # If a slow client blocks the server, the missing deliveries show it.
            with suppress(OSError):
                self.send_broadcast()
        return {
            "started_at": started_at,
            "seconds": time.monotonic() - started_at,
            "cpu": time.process_time() - cpu,
        }

    def send_to_accounts(self, accounts: list[int], rate: float, seconds: float) -> float:
        """Send to one random account after another; return how many messages it was per second."""

        async def send_all() -> None:
            for wait, account in _schedule(accounts, rate, seconds):
                if wait > 0:
                    await asyncio.sleep(wait)
                await self._send_to(account, 0)

        started_at = time.monotonic()
        asyncio.run(send_all())
        return count_calls(rate, seconds) / (time.monotonic() - started_at)

    def flood(self, account: int, times: int, size: int) -> int:
        """Send to one account as fast as possible; return how many messages it accepted."""

        async def send_all() -> int:
            for done in range(times):
                try:
                    async with asyncio.timeout(2):
                        await self._send_to(account, size)
                except (TimeoutError, OSError):
                    return done
            return times

        return asyncio.run(send_all())

    def send_broadcast(self) -> None:
        raise NotImplementedError

    async def _send_to(self, account: int, size: int) -> None:
        raise NotImplementedError


class SiteCaller(Caller):
    """Notify Site's public API; messages that are not stored are sent through the channel layer."""

    overhead: Final = 175  # bytes of a broadcast's frame without its body

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        import django

        django.setup()

    def send_broadcast(self) -> None:
        from notifications import broadcast

        broadcast(TYPE, body(max(0, FRAME_SIZE - self.overhead)))

    async def _send_to(self, account: int, size: int) -> None:
        from channels.layers import get_channel_layer

        from notifications.protocol import account_group, account_message

        frame = {"type": TYPE, "content": {"body": body(size or 140), "meta_data": ""}}
        layer: Any = get_channel_layer()
        await layer.group_send(account_group(account), account_message(frame))

    def warm_up(self, accounts: list[int]) -> None:
        """Notify these accounts: the first calls open connections and fill caches."""
        from notifications import notify_accounts

        for account in accounts:
            notify_accounts(account, TYPE, body(24))

    def notify(self, accounts: list[int], rate: float, seconds: float) -> float:
        """Like `send_to_accounts`, but each message is stored, numbered and published."""
        from notifications import notify_accounts

        started_at = time.monotonic()
        for wait, account in _schedule(accounts, rate, seconds):
            if wait > 0:
                time.sleep(wait)
            notify_accounts(account, TYPE, body(24))
        return count_calls(rate, seconds) / (time.monotonic() - started_at)

    def notify_many(self, first: int, count: int) -> dict[str, float]:
        """Notify this many accounts in one call; return the time and memory of each part."""
        from django.db import transaction

        from notifications import notify_accounts

        committed_at = 0.0

        def note_commit() -> None:
            nonlocal committed_at
            committed_at = time.monotonic()

        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started_at, cpu = time.monotonic(), time.process_time()
        with transaction.atomic():
            transaction.on_commit(note_commit)  # registered before those of the call
            notify_accounts(range(first, first + count), TYPE, body(24))
        return {
            "started_at": started_at,
            "commit": committed_at - started_at,
            "published": time.monotonic() - started_at,
            "cpu": time.process_time() - cpu,
            "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024,
        }


class PlainCaller(Caller):
    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        import django

        django.setup()

    def send_broadcast(self) -> None:
        from asgiref.sync import async_to_sync
        from channels.layers import get_channel_layer

        layer: Any = get_channel_layer()
        async_to_sync(layer.group_send)("everyone", self._event(140))

    async def _send_to(self, account: int, size: int) -> None:
        from channels.layers import get_channel_layer

        layer: Any = get_channel_layer()
        await layer.group_send(f"account_{account}", self._event(size or 140))

    def _event(self, size: int) -> dict[str, Any]:
        content = {"body": body(size), "meta_data": ""}
        return {"type": "notify", "frame": {"type": TYPE, "content": content}}


class HttpCaller(Caller):
    """One connection, kept open."""

    def __init__(self, env: dict[str, str], port: int) -> None:
        super().__init__(env)
        self._port = port
        self._connection: socket.socket | None = None

    def send_broadcast(self) -> None:
        self._post("/broadcast", body(140))

    async def _send_to(self, account: int, size: int) -> None:
        self._post(f"/push?account={account}", body(size or 140))

    def _post(self, path: str, content: str) -> None:
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=2)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n"
        try:
            self._connection.sendall((lines + content).encode())
            response = b""
            while b"\r\n\r\n" not in response:
                response += self._connection.recv(4096)
            # Without a body, the response ends with its headers; node's ends with a chunk.
            while b"chunked" in response and not response.endswith(b"0\r\n\r\n"):
                response += self._connection.recv(4096)
        except OSError:
            self._connection.close()
            self._connection = None
            raise


def count_calls(rate: float, seconds: float) -> int:
    """Return the number of calls in this time. It is random, but the same each time."""
    return len(_offsets(rate, seconds))


def _schedule(accounts: list[int], rate: float, seconds: float) -> Iterator[tuple[float, int]]:
    """Yield the time until each call and its account. A late call does not delay later ones."""
    rng = random.Random(SEED)
    started_at = time.monotonic()
    for offset in _offsets(rate, seconds):
        yield started_at + offset - time.monotonic(), rng.choice(accounts)


def _offsets(rate: float, seconds: float) -> list[float]:
    rng = random.Random(SEED)
    offsets = [0.0]
    while (offset := offsets[-1] + rng.expovariate(rate)) < seconds:
        offsets.append(offset)
    return offsets
