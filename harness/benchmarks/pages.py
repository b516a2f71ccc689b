"""Visitors who read pages of their inboxes, while something else goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from harness.accounts import session_key
from harness.benchmarks.peers import Running

READERS: Final = 16  # at a time
READ_EVERY: Final = 0.05  # seconds


def read_pages(
    running: Running, accounts: int, until: Callable[[], bool]
) -> tuple[list[float], set[str]]:
    """Read at a steady pace; return how long each page took (seconds), and what went wrong."""
    asked: list[Future[float]] = []
    with ThreadPoolExecutor(READERS) as threads:
        began = time.monotonic()
        while not asked or not until():
            asked.append(threads.submit(_read_page, running, 1 + len(asked) % accounts))
            time.sleep(max(0.0, began + len(asked) * READ_EVERY - time.monotonic()))
    failures = {repr(failure) for page in asked if (failure := page.exception())}
    return [page.result() for page in asked if not page.exception()], failures


def _read_page(running: Running, account: int) -> float:
    began = time.monotonic()
    headers = {
        "Cookie": f"sessionid={session_key(account)}",
        "X-Forwarded-Proto": "https",  # as from a proxy; without, it would be a redirect
    }
    running.get_json("/notifications/items/?limit=10", headers)
    return time.monotonic() - began
