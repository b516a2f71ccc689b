"""
Who has something to say: the code that calls for pushes, in a process of its own.

For Notify Site that is its public API, for plain Channels the channel layer,
for the others an HTTP request. A message's body starts with the time of the
call, as `@<nanoseconds>@`; padding brings all frames to about the same size.
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

FRAME_SIZE: Final = 200  # bytes of payload, about
TYPE: Final = "bench"
SEED: Final = 1  # of what is left to chance


def body(size: int) -> str:
    return f"@{time.monotonic_ns()}@".ljust(size, "x")


class Caller:
    """What all have in common: when to call, and what it cost."""

    def __init__(self, env: dict[str, str]) -> None:
        os.environ.update(env)

    def broadcast(self, times: int = 1) -> dict[str, Any]:
        """Tell everyone, so many times without waiting; return when it began and what it took."""
        began, cpu = time.monotonic(), time.process_time()
        for _ in range(times):
            # One that waits for ever for a slow reader is seen by what is not delivered.
            with suppress(OSError):
                self.tell_everyone()
        return {
            "began_at": began,
            "seconds": time.monotonic() - began,
            "cpu": time.process_time() - cpu,
        }

    def push(self, accounts: list[int], rate: float, seconds: float) -> float:
        """Tell one account after the other, drawn by chance; return how many per second it was."""

        async def tell() -> None:
            for wait, account in _moments(accounts, rate, seconds):
                if wait > 0:
                    await asyncio.sleep(wait)
                await self._tell_one(account, 0)

        began = time.monotonic()
        asyncio.run(tell())
        return how_many(rate, seconds) / (time.monotonic() - began)

    def flood(self, account: int, times: int, size: int) -> int:
        """Tell one account again and again, as fast as it goes; return how often it went."""

        async def tell() -> int:
            for done in range(times):
                try:
                    async with asyncio.timeout(2):
                        await self._tell_one(account, size)
                except (TimeoutError, OSError):
                    return done
            return times

        return asyncio.run(tell())

    def tell_everyone(self) -> None:
        raise NotImplementedError

    async def _tell_one(self, account: int, size: int) -> None:
        raise NotImplementedError


class SiteCaller(Caller):
    """Notify Site's public API; pushes that are not stored go through the layer, as anybody's."""

    overhead: Final = 175  # bytes of a broadcast's frame beside its body

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        import django

        django.setup()

    def tell_everyone(self) -> None:
        from notifications import broadcast

        broadcast(TYPE, body(max(0, FRAME_SIZE - self.overhead)))

    async def _tell_one(self, account: int, size: int) -> None:
        from channels.layers import get_channel_layer

        frame = {"type": TYPE, "content": {"body": body(size or 140), "meta_data": ""}}
        layer: Any = get_channel_layer()
        await layer.group_send(
            f"account_{account}", {"type": "notifications.frame", "frame": frame}
        )

    def warm_up(self, accounts: list[int]) -> None:
        """Notify these: the first calls open connections and fill caches."""
        from notifications import notify_accounts

        for account in accounts:
            notify_accounts(account, TYPE, body(24))

    def notify(self, accounts: list[int], rate: float, seconds: float) -> float:
        """As `push`, with a row each: committed, numbered, pushed."""
        from notifications import notify_accounts

        began = time.monotonic()
        for wait, account in _moments(accounts, rate, seconds):
            if wait > 0:
                time.sleep(wait)
            notify_accounts(account, TYPE, body(24))
        return how_many(rate, seconds) / (time.monotonic() - began)

    def notify_many(self, first: int, count: int) -> dict[str, float]:
        """One call for so many accounts; return what each part took."""
        from django.db import transaction

        from notifications import notify_accounts

        committed_at = 0.0

        def note_commit() -> None:
            nonlocal committed_at
            committed_at = time.monotonic()

        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, cpu = time.monotonic(), time.process_time()
        with transaction.atomic():
            transaction.on_commit(note_commit)  # before those of the call
            notify_accounts(range(first, first + count), TYPE, body(24))
        return {
            "began_at": began,
            "commit": committed_at - began,
            "pushed": time.monotonic() - began,
            "cpu": time.process_time() - cpu,
            "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024,
        }


class PlainCaller(Caller):
    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        import django

        django.setup()

    def tell_everyone(self) -> None:
        from asgiref.sync import async_to_sync
        from channels.layers import get_channel_layer

        layer: Any = get_channel_layer()
        async_to_sync(layer.group_send)("everyone", self._event(140))

    async def _tell_one(self, account: int, size: int) -> None:
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

    def tell_everyone(self) -> None:
        self._post("/broadcast", body(140))

    async def _tell_one(self, account: int, size: int) -> None:
        self._post(f"/push?account={account}", body(size or 140))

    def _post(self, path: str, content: str) -> None:
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=2)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n"
        try:
            self._connection.sendall((lines + content).encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += self._connection.recv(4096)
            # Without a body, the answer ends with its headers; node ends it with a chunk.
            while b"chunked" in answer and not answer.endswith(b"0\r\n\r\n"):
                answer += self._connection.recv(4096)
        except OSError:
            self._connection.close()
            self._connection = None
            raise


def how_many(rate: float, seconds: float) -> int:
    """How many random moments there are, the same at every call."""
    return len(_offsets(rate, seconds))


def _moments(accounts: list[int], rate: float, seconds: float) -> Iterator[tuple[float, int]]:
    """The time until each random moment, and whose turn it is; a late one delays no other."""
    chance = random.Random(SEED)
    began = time.monotonic()
    for offset in _offsets(rate, seconds):
        yield began + offset - time.monotonic(), chance.choice(accounts)


def _offsets(rate: float, seconds: float) -> list[float]:
    chance = random.Random(SEED)
    offsets = [0.0]
    while (offset := offsets[-1] + chance.expovariate(rate)) < seconds:
        offsets.append(offset)
    return offsets
