"""A thread of one's own for database work, so that nobody waits behind anybody else's query."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from channels.db import database_sync_to_async
from django.db import connections

T = TypeVar("T")


class DatabaseThread:
    """One thread with its own database connections; calls run one after another."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        call = database_sync_to_async(function, thread_sensitive=False, executor=self._executor)
        return await call(*arguments)

    async def close(self) -> None:
        """Close its connections and end it."""
        await self.run(connections.close_all)
        self._executor.shutdown(wait=False)
