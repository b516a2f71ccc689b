"""How long a page's main thread is busy with one thing after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page


class Tasks:
    """How long the page's main thread was busy with one task, and with all, in milliseconds."""

    # Its own processor time: in that by the clock, the machine's other processes have their share.
    longest = 0.0
    total = 0.0

    def read(self, trace: bytes) -> None:
        events = json.loads(trace)["traceEvents"]
        mains = {
            (event["pid"], event["tid"])
            for event in events
            if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
        }
        tasks = [
            event.get("tdur", 0) / 1000
            for event in events
            if event["name"].endswith("RunTask") and (event["pid"], event["tid"]) in mains
        ]
        assert tasks
        self.longest, self.total = max(tasks), sum(tasks)


@contextmanager
def traced(browser: Browser, page: Page) -> Iterator[Tasks]:
    tasks = Tasks()
    browser.start_tracing(page=page, categories=["toplevel", "__metadata"])
    yield tasks
    wait_for_frames(page)  # only what has ended is in the trace
    tasks.read(browser.stop_tracing())


def wait_for_frames(page: Page) -> None:
    """Until what was asked for is painted."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
