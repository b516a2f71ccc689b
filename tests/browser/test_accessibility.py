"""For everyone: in every state, whatever the colours, the size and the direction of the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

from .conftest import Problems, Site
from .states import Story

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DESKTOP = {"width": 1280, "height": 800}
NARROW = {"width": 320, "height": 640}  # what is left of 1280 pixels at 400 %
ZOOMED = {"width": 640, "height": 400}  # and of 1280 × 800 at 200 %
FAILURES = "ERR_FAILED|WebSocket|401"  # that the story brings about

# What is cut off by the sides of the window, or makes the page scroll sideways.
OVERFLOWING = """() => {
  const { scrollWidth, clientWidth } = document.documentElement
  const found = scrollWidth > clientWidth ? [`the page is ${scrollWidth} wide`] : []
  for (const element of document.querySelectorAll("body *")) {
    const { left, right, width } = element.getBoundingClientRect()
    const isSeen = width > 1 && element.checkVisibility({ visibilityProperty: true })
    if (isSeen && (left < -0.5 || right > clientWidth + 0.5)) found.push(element.outerHTML.slice(0, 200))
  }
  return found
}"""


def violations(page: Page, *rules: str) -> list[str]:
    """Return what axe finds on the page, by these rules or by all."""
    only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": TAGS}
    found = Axe().run(page, options={"runOnly": only, "resultTypes": ["violations"]})
    return [
        f"{violation['id']}: {node['html'][:300]} {json.dumps(node['any'] or node['all'])[:300]}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


def test_axe_finds_nothing_in_any_state_light_and_dark(
    site: Site, new_context: Callable[..., BrowserContext], problems: Problems
) -> None:
    problems.expect(FAILURES)
    context = new_context(base_url=site.url, viewport=DESKTOP, reduced_motion="reduce")
    page = context.new_page()
    found: dict[str, Any] = {}

    for state in Story(site, page).states():
        found[state.name] = violations(page)
        page.emulate_media(color_scheme="dark")
        found[f"{state.name}, dark"] = violations(page, "color-contrast")
        page.emulate_media(color_scheme="light")

    assert len(found) > 40
    assert {name: list for name, list in found.items() if list} == {}


def test_nothing_is_cut_off_when_narrow_or_zoomed_and_from_right_to_left(
    site: Site, new_context: Callable[..., BrowserContext], problems: Problems
) -> None:
    problems.expect(FAILURES)
    context = new_context(
        base_url=site.url, viewport=NARROW, has_touch=True, locale="ar", reduced_motion="reduce"
    )
    page = context.new_page()
    found: dict[str, Any] = {}

    for state in Story(site, page, "ar").states():
        assert page.locator("html").get_attribute("dir") == "rtl"
        for size in (ZOOMED, NARROW):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            found[f"{state.name}, {size['width']}"] = page.evaluate(OVERFLOWING)

    assert len(found) > 40
    assert {name: list for name, list in found.items() if list} == {}
