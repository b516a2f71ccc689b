"""What happens outside the open panel: the first tap there only closes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from .elements import bell, expect_online, open_bell, panel, toasts
from .site import Site

REACHED = """() => {
    window.reached = []
    for (const type of ["pointerdown", "mousedown", "touchstart", "click", "auxclick"])
        document.querySelector("main").addEventListener(type, () => window.reached.push(type))
}"""
# A site may animate the closing of the panel.
SLOW_CLOSING = """() => {
    const style = new CSSStyleSheet()
    style.replaceSync(`[data-part=panel] { opacity: 0; transition: all 3s allow-discrete }
        [data-part=panel]:popover-open { opacity: 1 }`)
    document.adoptedStyleSheets = [style]
}"""


def tap(page: Page, place: Locator, pointer: str) -> None:
    """Tap the middle of the place, whatever is above it."""
    box = place.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    if pointer == "touch":
        page.touchscreen.tap(x, y)
    elif pointer == "mouse":
        page.mouse.click(x, y)
    else:
        devtools = page.context.new_cdp_session(page)
        pen = {"x": x, "y": y, "button": "left", "clickCount": 1, "pointerType": "pen"}
        for event in ("mousePressed", "mouseReleased"):
            devtools.send("Input.dispatchMouseEvent", {"type": event, **pen})


@pytest.fixture
def open_page(site: Site, log_in: Callable[..., BrowserContext]) -> Callable[[int], Page]:
    def open_page(width: int) -> Page:
        viewport = {"width": width, "height": 844}
        page = log_in("alice", site, viewport=viewport, has_touch=True).new_page()
        page.goto("/")
        expect_online(page)
        page.evaluate(REACHED)
        return page

    return open_page


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("pointer", ["mouse", "touch", "pen"])
def test_the_first_tap_outside_only_closes_the_panel(
    open_page: Callable[[int], Page], pointer: str, width: int
) -> None:
    page = open_page(width)
    pay = page.get_by_role("button", name="Pay Espresso machine")
    open_bell(page)

    tap(page, pay, pointer)

    expect(panel(page)).to_be_hidden()
    expect(bell(page)).to_have_attribute("aria-expanded", "false")
    assert page.evaluate("() => window.reached") == []
    with page.expect_response(lambda answer: answer.url.endswith("/pay/")):
        tap(page, pay, pointer)


def test_a_tap_while_the_panel_is_closing_does_not_reach_the_page(
    open_page: Callable[[int], Page],
) -> None:
    page = open_page(390)
    page.evaluate(SLOW_CLOSING)
    pay = page.get_by_role("button", name="Pay Espresso machine")
    open_bell(page)
    tap(page, pay, "touch")
    expect(panel(page)).not_to_have_css("opacity", "1")

    tap(page, pay, "touch")

    assert page.evaluate("() => window.reached") == []
    expect(panel(page)).to_be_hidden()
    with page.expect_response(lambda answer: answer.url.endswith("/pay/")):
        tap(page, pay, "touch")


def test_toasts_are_used_beside_a_panel_that_was_opened_while_it_closed(
    site: Site, open_page: Callable[[int], Page]
) -> None:
    page = open_page(1440)
    page.evaluate(SLOW_CLOSING)
    site.shell('notify_accounts(alice, "news", "Hello", url="/orders/1/")')
    close = toasts(page).get_by_role("button", name="Close")
    expect(close).to_be_visible()
    open_bell(page)
    page.keyboard.press("Escape")
    expect(panel(page)).not_to_have_css("opacity", "1")

    bell(page).press("Enter")
    expect(bell(page)).to_have_attribute("aria-expanded", "true")
    tap(page, close, "mouse")

    expect(toasts(page)).to_have_count(0)
    expect(bell(page)).to_have_attribute("aria-expanded", "true")


def test_a_middle_click_outside_opens_no_link(open_page: Callable[[int], Page]) -> None:
    page = open_page(1440)
    link = page.get_by_role("link", name="Espresso machine").bounding_box()
    assert link
    open_bell(page)

    page.mouse.click(link["x"] + 5, link["y"] + 5, button="middle")

    expect(panel(page)).to_be_hidden()
    assert page.evaluate("() => window.reached") == []
    assert len(page.context.pages) == 1


def test_toasts_are_used_beside_the_open_panel(
    site: Site, open_page: Callable[[int], Page]
) -> None:
    page = open_page(1440)
    open_bell(page)
    site.shell('notify_accounts(alice, "news", "Hello", url="/orders/1/")')

    toasts(page).get_by_role("button", name="Close").click()

    expect(toasts(page)).to_have_count(0)
    expect(panel(page)).to_be_visible()
    page.keyboard.press("Escape")
    site.shell('notify_accounts(alice, "news", "Hello", url="/orders/1/")')
    expect(toasts(page)).to_be_visible()
