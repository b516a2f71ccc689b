"""With very many notifications the page stays responsive."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from harness.long_list import ROWS, STEPS, fill_inbox_code, load_all, remember_ends
from harness.tasks import traced, wait_for_frames

from .client import CLIENT
from .elements import expect_online, items, open_bell, toasts
from .site import Site

LONG = 50  # ms
NOTICED = 100  # ms, until an action takes effect
COUNT = f"""() => {{
  window.came = []
  {CLIENT}.addEventListener("notification", () => came.push(performance.now()))
}}"""


@pytest.mark.verify
def test_long_tasks_would_be_noticed(site: Site, open_tab: Callable[..., Page]) -> None:
    page = open_tab("alice")
    browser = page.context.browser
    assert browser

    with traced(browser, page) as tasks:
        for _ in range(20):
            wait_for_frames(page)
        page.evaluate("() => { const end = Date.now() + 300; while (Date.now() < end); }")

    assert tasks.longest > LONG


@pytest.mark.realtime
@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
def test_a_thousand_notifications_in_a_second_are_a_number_and_no_long_task(
    site: Site, browser: Browser, open_tab: Callable[..., Page], is_open: bool
) -> None:
    page = open_tab("alice")
    expect_online(page)
    if is_open:
        expect(open_bell(page).locator("[data-part=empty]")).to_be_visible()
    page.evaluate(COUNT)

    with traced(browser, page) as tasks:
        site.shell(
            "from django.db import transaction\n"
            "with transaction.atomic():\n"
            "    for n in range(1000):\n"
            # With a link, their toasts stay.
            "        notify_accounts(alice, 'news', f'News {n}', url='/orders/1/')"
        )
        page.wait_for_function("() => came.length === 1000")
        if is_open:
            page.wait_for_function(f"() => {ROWS} === 1000")

    assert page.evaluate("() => came.at(-1) - came[0]") < 3000
    expect(toasts(page)).to_have_count(4)
    # There are three single toasts; after a second another one replaces the first.
    expect(toasts(page).first).to_have_text(re.compile(r"99\d more notifications\s+Close"))
    assert tasks.longest < LONG


@pytest.mark.realtime
def test_ten_thousand_items_are_loaded_scrolled_and_marked_without_delay(
    site: Site, browser: Browser, open_tab: Callable[..., Page]
) -> None:
    site.shell(fill_inbox_code(10_000))
    page = open_tab("alice", "/notifications/")

    with traced(browser, page) as loading:
        load_all(page)
    remember_ends(page)
    with traced(browser, page) as tasks:
        for step in STEPS.values():
            step(page)

    assert items(page).count() == 9_999
    assert max(loading.longest, tasks.longest) < NOTICED
