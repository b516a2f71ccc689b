"""How long a page's main thread is busy without a break."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page


class Tasks:
    """The main thread's longest task and the sum of all tasks, in milliseconds."""

    # CPU time, because wall time would include the machine's other processes.
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
    wait_for_frames(page)  # the trace has only finished tasks
    tasks.read(browser.stop_tracing())


def wait_for_frames(page: Page) -> None:
    """Wait until pending changes are painted."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
