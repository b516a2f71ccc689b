"""Accessibility in every state, in all colours, sizes and directions of the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from .conftest import Problems
from .elements import badge, expect_online, items, open_bell, panel, toasts
from .looks import LOOKS
from .site import Site
from .states import TEXTS, Story, operator_states, show_the_elements

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DESKTOP = {"width": 1280, "height": 800}
NARROW = {"width": 320, "height": 640}  # 1280 pixels at 400 %
ZOOMED = {"width": 640, "height": 400}  # 1280 × 800 pixels at 200 %
FAILURES = "ERR_FAILED|WebSocket|401"  # of the states in which something fails

# Elements that the sides of the window cut off, or that make the page scroll sideways; and
# fixed elements that its top or bottom cuts off.
OVERFLOWING = """() => {
  const { scrollWidth, clientWidth, clientHeight } = document.documentElement
  const found = scrollWidth > clientWidth ? [`the page is ${scrollWidth} wide`] : []
  for (const element of document.querySelectorAll("body *")) {
    const { left, right, width } = element.getBoundingClientRect()
    const isSeen = width > 1 && element.checkVisibility({ visibilityProperty: true })
    const isCut = left < -0.5 || right > clientWidth + 0.5
    if (isSeen && isCut) found.push(element.outerHTML.slice(0, 200))
  }
  for (const element of document.querySelectorAll("[data-part=panel], [data-part=toast]")) {
    const { top, bottom } = element.getBoundingClientRect()
    if (top < -0.5 || bottom > clientHeight + 0.5) found.push(element.outerHTML.slice(0, 200))
  }
  return found
}"""


def violations(page: Page, *rules: str) -> list[str]:
    """Return what axe finds on the page, with these rules or with all."""
    only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": TAGS}
    found = Axe().run(page, options={"runOnly": only, "resultTypes": ["violations"]})
    return [
        f"{violation['id']}: {node['html'][:300]} {json.dumps(node['any'] or node['all'])[:300]}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.verify
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


@pytest.mark.verify
def test_axe_finds_nothing_on_the_operators_pages(
    site: Site, log_in: Callable[..., BrowserContext]
) -> None:
    page = log_in("operator", site, reduced_motion="reduce", bypass_csp=True).new_page()

    found = {state.name: violations(page) for state in operator_states(site, page)}

    assert found == {"broadcasts": [], "compose": [], "preview": []}


@pytest.mark.verify
def test_each_look_in_the_docs_has_enough_contrast(site: Site, browser: Browser) -> None:
    page = show_the_elements(browser, site)
    style = page.add_style_tag(content=" ")
    found = {}

    for name, css in LOOKS.items():
        page.emulate_media(color_scheme="dark" if "Dark" in name else "light")
        style.evaluate("(style, css) => (style.textContent = css)", css)
        found[name] = violations(page, "color-contrast")
    page.context.close()

    assert len(found) == 6
    assert {name: list for name, list in found.items() if list} == {}


@pytest.mark.verify
def test_nothing_is_cut_off_when_narrow_or_zoomed_or_from_right_to_left(
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


def test_a_very_long_word_is_broken(site: Site, log_in: Callable[..., BrowserContext]) -> None:
    page = log_in("alice", site, viewport=NARROW).new_page()
    page.goto("/")
    expect_online(page)

    site.shell('notify_accounts(alice, "a", "x" * 300); broadcast("a", "x" * 300, level="error")')

    expect(toasts(page)).to_have_count(2)
    expect(items(open_bell(page))).to_have_count(2)
    page.mouse.move(0, 0)
    too_wide = "(all) => all.filter((e) => e.scrollWidth > e.clientWidth).length"
    bodies = page.locator("[data-part=body]:visible")
    expect(bodies).to_have_count(5)  # of two toasts, two items and the banner
    assert bodies.evaluate_all(too_wide) == 0


def test_from_right_to_left_everything_is_mirrored_except_left_to_right_texts(
    site: Site, log_in: Callable[..., BrowserContext]
) -> None:
    context = log_in("alice", site, reduced_motion="reduce")
    context.add_cookies([{"name": "django_language", "value": "ar", "url": site.url}])
    page = context.new_page()
    page.goto("/")
    expect_online(page)

    # With a link, its toast stays.
    site.shell(f'notify_accounts(alice, "a", "{TEXTS["en"][0]}", url="/orders/1/")')
    expect(toasts(page)).to_have_count(1)
    site.shell(f'notify_accounts(alice, "a", "{TEXTS["ar"][0]}")')
    expect(toasts(page)).to_have_count(2)
    page.locator("notifications-bell [data-part=bell]").click()
    expect(items(page)).to_have_count(2)

    directions = "(bodies) => bodies.map((body) => getComputedStyle(body).direction)"
    assert toasts(page).locator("[data-part=body]").evaluate_all(directions) == ["ltr", "rtl"]
    assert items(page).locator("[data-part=body]").evaluate_all(directions) == ["rtl", "ltr"]
    stack = page.locator("notifications-toasts").bounding_box()
    assert stack and stack["x"] == 0
    stripe = toasts(page).first.evaluate("(e) => getComputedStyle(e, '::before').right")
    assert stripe == "0px"


# What a screen reader announces: what is added to live regions, or becomes visible in them.
LISTEN = """() => {
  window.spoken = []
  const say = (node) => {
    const element = node instanceof Element ? node : node.parentElement
    const region = element?.closest("[aria-live], [role=status], [role=alert]")
    if (!region || region.ariaLive === "off" || !element.checkVisibility()) return
    const manner = region.ariaLive ?? { status: "polite", alert: "assertive" }[region.role]
    const isAtomic = region.ariaAtomic ? region.ariaAtomic === "true" : Boolean(region.role)
    const { innerText } = isAtomic ? region : element
    spoken.push(`${manner}: ${innerText.replace(/\\s+/g, " ").trim()}`)
  }
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "childList") addedNodes.forEach(say)
      else if (!target.hidden) say(target)
    }
  }).observe(document, {
    subtree: true, childList: true, characterData: true, attributeFilter: ["hidden"]
  })
}"""


def test_a_screen_reader_announces_each_notification_once_and_politely(
    site: Site, open_tab: Callable[..., Page]
) -> None:
    page = open_tab("alice")
    expect_online(page)
    page.evaluate(LISTEN)

    site.shell('notify_accounts(alice, "a", "First")')
    expect(badge(page)).to_have_text("1")
    expect(toasts(page)).to_have_count(1)
    site.shell(
        "from django.db import transaction\n"
        "with transaction.atomic():  # so that they come together\n"
        "    for n in range(9): notify_accounts(alice, 'a', f'News {n}')"
    )
    expect(badge(page)).to_have_text("10")
    expect(toasts(page)).to_have_count(4)
    expect(items(open_bell(page))).to_have_count(10)
    panel(page).get_by_role("button", name="Archive", exact=True).first.click()
    expect(panel(page).get_by_role("button", name="Undo")).to_be_visible()

    spoken = page.evaluate("() => spoken")
    assert spoken[0] == "polite: First Close"
    assert spoken[-1] == "polite: Archived Undo"
    assert len(spoken) == len(set(spoken)), spoken
    single = [words for words in spoken if "News" in words]
    assert all(words.count("Close") == 1 for words in single), spoken
    more = [words for words in spoken if "more notifications" in words]
    assert len(single) <= 6 and len(more) == 1, spoken  # three toasts, or six in two bursts
    assert len(spoken) == len(single) + len(more) + 2


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_nothing_moves_with_reduced_motion(
    site: Site, log_in: Callable[..., BrowserContext], motion: str
) -> None:
    page = log_in("alice", site, reduced_motion=motion).new_page()
    page.goto("/")
    expect_online(page)
    page.route("**/notifications/items/**", lambda route: None)

    site.shell('notify_accounts(alice, "a", "News")')
    expect(toasts(page)).to_have_count(1)
    open_bell(page)

    moving = {
        place: page.locator(place).first.evaluate("(e) => getComputedStyle(e).animationName")
        for place in ("[data-part=toast]", "[data-part=panel]", "[data-part=skeleton]")
    }
    moving["leaving"] = page.locator("[data-part=toast]").evaluate(
        "(e) => { e.dataset.leaving = ''; return getComputedStyle(e).animationName }"
    )
    assert {place for place, name in moving.items() if name != "none"} == (
        set(moving) if motion == "no-preference" else set()
    )


def test_in_forced_colours_shapes_replace_colours(
    site: Site, log_in: Callable[..., BrowserContext]
) -> None:
    page = log_in("alice", site, forced_colors="active").new_page()
    no_styles = {"body": "", "content_type": "text/css"}  # except ours
    page.route("**/site.css", lambda route: route.fulfill(**no_styles))
    page.goto("/")
    expect_online(page)
    site.shell('notify_accounts(alice, "a", "News")')
    expect(items(open_bell(page))).to_have_count(1)

    def style(place: str, name: str, part: str = "") -> str:
        script = f"(e) => getComputedStyle(e, {part!r}).{name}"
        return str(page.locator(place).first.evaluate(script))

    for place in ("toast", "panel", "badge", "undo"):
        assert style(f"[data-part={place}]", "borderLeftStyle") == "solid"
    page.locator("notifications-bell").evaluate("(bell) => (bell.dataset.status = 'offline')")
    nothing = (style("[data-part=panel]", "backgroundColor"), "rgba(0, 0, 0, 0)")
    assert style("[data-part=unread]", "backgroundColor") not in nothing
    assert style("[data-part=toast]", "backgroundColor", "::before") not in nothing
    assert style("[data-part=bell]", "backgroundColor", "::after") not in nothing
    assert style("button[data-folder=inbox] span", "textDecorationLine") == "underline"
    assert style("button[data-folder=unread] span", "textDecorationLine") == "none"
    page.keyboard.press("Tab")
    assert style(":focus", "outlineStyle") == "solid"
