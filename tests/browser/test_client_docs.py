"""The scripts in docs/client.md work."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .client import expect_status
from .conftest import Problems
from .site import Site

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs/client.md"
SCRIPTS = re.findall(r"^```js\n(.*?)^```", DOCUMENTED.read_text(), re.DOTALL | re.MULTILINE)

PAGE = """<!doctype html><title>My site</title>{config}<div id="news"></div>
<script type="module" src="/static/mysite/news.js"></script>"""


@pytest.fixture
def open_page(open_tab: Callable[..., Page]) -> Callable[[str], Page]:
    """Open a page for alice with the configuration and a script, without our elements."""

    def open_page(script: str) -> Page:
        page = open_tab("alice")
        config = page.locator("#notifications-config").evaluate("({ outerHTML }) => outerHTML")
        page.route(
            "**/news.js",
            lambda route: route.fulfill(body=script, content_type="text/javascript"),
        )
        page.goto("/healthz")
        page.set_content(PAGE.format(config=config))
        expect_status(page, "online")
        return page

    return open_page


def test_a_sites_own_page_gets_new_notifications(
    site: Site, open_page: Callable[[str], Page]
) -> None:
    page = open_page(SCRIPTS[0])

    with page.expect_console_message() as message:
        site.shell('notify_accounts(alice, "order_paid", "Order 7 is paid")')

    assert message.value.text == "Order 7 is paid"
    expect(page).to_have_title("(1) My site")


def test_a_sites_own_list_is_live_and_can_mark(
    site: Site, open_page: Callable[[str], Page], problems: Problems
) -> None:
    problems.expect("ERR_FAILED")
    page = open_page(SCRIPTS[1])
    buttons = page.locator("#news button")
    site.shell('[notify_accounts(alice, "news", body) for body in ("First", "Second")]')
    expect(buttons).to_have_text(["Second", "First"])

    buttons.first.click()

    expect(buttons.first).to_be_disabled()
    page.route("**/notifications/mark/", lambda route: route.abort())
    # No click: the first change may replace the buttons while one is pressed.
    buttons.last.dispatch_event("click")
    expect(page.get_by_text("Couldn't save your change (0).")).to_be_visible()
    expect(buttons.last).to_be_enabled()


def test_every_script_is_executed() -> None:
    assert len(SCRIPTS) == 2
