"""Very many at once: the page goes on answering."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect

from .client import CLIENT
from .conftest import Site
from .elements import expect_online, toasts

LONG = 50  # ms
COUNT = f"""() => {{
  window.came = []
  {CLIENT}.addEventListener("notification", () => came.push(performance.now()))
}}"""


class Tasks:
    """How long the page's main thread was busy with one task, in ms of its own processor time."""

    # Not in time by the clock, in which other processes of the machine have their share.
    longest: float

    def __init__(self) -> None:
        self.longest = 0

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
        assert len(tasks) > 10
        self.longest = max(tasks)


@contextmanager
def traced(browser: Browser, page: Page) -> Iterator[Tasks]:
    tasks = Tasks()
    browser.start_tracing(page=page, categories=["toplevel", "__metadata"])
    yield tasks
    tasks.read(browser.stop_tracing())


def wait_for_frames(page: Page) -> None:
    """Until what was asked for is painted."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def test_what_is_long_would_be_found(site: Site, open_tab: Callable[..., Page]) -> None:
    page = open_tab("alice")
    browser = page.context.browser
    assert browser

    with traced(browser, page) as tasks:
        for _ in range(20):
            wait_for_frames(page)
        page.evaluate("() => { const end = Date.now() + 300; while (Date.now() < end); }")

    assert tasks.longest > LONG


def test_a_thousand_in_a_second_are_a_number_and_no_long_task(
    site: Site, browser: Browser, open_tab: Callable[..., Page]
) -> None:
    page = open_tab("alice")
    expect_online(page)
    page.evaluate(COUNT)

    with traced(browser, page) as tasks:
        site.shell(
            "from django.db import transaction\n"
            "with transaction.atomic():\n"
            "    for n in range(1000): notify_accounts(alice, 'news', f'News {n}')"
        )
        page.wait_for_function("() => came.length === 1000")
        wait_for_frames(page)

    assert page.evaluate("() => came.at(-1) - came[0]") < 3000  # ms
    expect(toasts(page)).to_have_count(4)
    expect(toasts(page).first).to_have_text("More new notifications: 997 Close")
    assert tasks.longest < LONG
