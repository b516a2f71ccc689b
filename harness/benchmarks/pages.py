"""Visitors who load pages of their inboxes during another measurement."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from harness.accounts import session_key
from harness.benchmarks.peers import RunningPeer

CONCURRENT_REQUESTS: Final = 16
REQUEST_INTERVAL_SECONDS: Final = 0.05


def read_pages(
    running: RunningPeer, accounts: int, until: Callable[[], bool]
) -> tuple[list[float], set[str]]:
    """Load pages at a steady rate; return the seconds that each took, and the errors."""
    requests: list[Future[float]] = []
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as threads:
        started_at = time.monotonic()
        while not requests or not until():
            requests.append(threads.submit(_read_page, running, 1 + len(requests) % accounts))
            time.sleep(
                max(0.0, started_at + len(requests) * REQUEST_INTERVAL_SECONDS - time.monotonic())
            )
    failures = {repr(failure) for page in requests if (failure := page.exception())}
    return [page.result() for page in requests if not page.exception()], failures


def _read_page(running: RunningPeer, account: int) -> float:
    started_at = time.monotonic()
    headers = {
        "Cookie": f"sessionid={session_key(account)}",
        "X-Forwarded-Proto": "https",  # as from a proxy; otherwise it would redirect
    }
    running.get_json("/notifications/items/?limit=10", headers)
    return time.monotonic() - started_at
