"""
One odd thing does not take the whole with it.

Browsers without what newer ones have, or with what they refuse to give; and rows that cannot be
shown. What a browser lacks is deleted before the page's scripts run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from .client import expect_connections
from .conftest import Problems
from .elements import (
    badge,
    bell,
    expect_no_unread,
    expect_online,
    items,
    notify,
    open_bell,
    panel,
    toasts,
)
from .site import Site

LogIn = Callable[..., BrowserContext]

# What the oldest supported versions of Chrome, Firefox and Safari lack, one or the other, of what
# our scripts use (docs/client.md).
OLDEST = """
    delete URL.canParse
    delete URL.parse
    delete Promise.withResolvers
    delete Object.groupBy
    delete Element.prototype.checkVisibility
    delete Element.prototype.ariaDisabled
    for (const name of ["popover", "showPopover", "hidePopover", "togglePopover"])
        delete HTMLElement.prototype[name]
    delete HTMLButtonElement.prototype.popoverTargetElement
    for (const name of Object.getOwnPropertyNames(Iterator.prototype))
        if (name !== "constructor") delete Iterator.prototype[name]
"""
DENY = """
    const deny = () => { throw new DOMException("The operation is insecure.", "SecurityError") }
"""
NO_CHANNEL = "window.BroadcastChannel = class { constructor() { deny() } };"
NO_LOCKS = "Object.defineProperty(navigator, 'locks', {get: deny});"
HAS_LOCKS = "if (window.LockManager) "  # not on the empty page
NO_STORAGE = """
    for (const name of ["localStorage", "sessionStorage"])
        Object.defineProperty(window, name, {get: deny});
"""
ODD = {
    "no canParse": "delete URL.canParse",
    "no locks": "delete Navigator.prototype.locks",
    "no channel": "delete window.BroadcastChannel",
    "channel refused": DENY + NO_CHANNEL,
    "posting refused": DENY + "BroadcastChannel.prototype.postMessage = deny",
    "locks refused": DENY + NO_LOCKS,
    "lock refused": DENY + HAS_LOCKS + "LockManager.prototype.request = async () => deny()",
    "lock refused at once": DENY + HAS_LOCKS + "LockManager.prototype.request = deny",
    "lock aborted": f"""{HAS_LOCKS} LockManager.prototype.request = async () => {{
        throw new DOMException("Aborted", "AbortError") }}""",
    "storage refused": DENY + NO_STORAGE,
    "storage full": """Storage.prototype.setItem = () => {
        throw new DOMException("full", "QuotaExceededError") }""",
    "all of it refused": DENY + NO_CHANNEL + NO_LOCKS + NO_STORAGE,
    "no relative times": "delete Intl.RelativeTimeFormat",
    "no formats": """
        for (const name of ["RelativeTimeFormat", "DateTimeFormat", "PluralRules"])
            Intl[name] = class { constructor() { throw new RangeError("Incorrect locale") } }""",
    "no observers": "delete window.IntersectionObserver; delete Element.prototype.checkVisibility",
}
TAGS = ["en_US", "C", "x", "-"]
MAKE_ODD = {
    "url": "http://[",
    "created_at": "yesterday",
    "level": "odd",
    "content": None,
}
# A text of which no string can be made.
NO_TEXT = {"toString": None, "valueOf": None}


def expect_all_to_work(site: Site, page: Page) -> None:
    """Send a notification and mark all, with two rows of which one has an address elsewhere."""
    expect_online(page)
    site.shell('notify_accounts(alice, "news", "Live", url="https://example.com/b")')
    expect(badge(page)).to_have_text("2")
    expect(toasts(page)).to_contain_text(["Live"])
    expect(items(open_bell(page)).locator("[data-slot=body]")).to_have_text(["Live", "Old"])
    expect(items(panel(page)).locator("a[href]")).to_have_count(2)
    panel(page).get_by_role("button", name="Mark all as read").click()
    expect_no_unread(page)


def open_odd(site: Site, log_in: LogIn, script: str, path: str = "/") -> Page:
    site.shell('notify_accounts(alice, "news", "Old", url="https://example.com/a")')
    context = log_in("alice", site)
    context.add_init_script(script)
    page = context.new_page()
    page.goto(path)
    return page


@pytest.mark.parametrize("script", ODD.values(), ids=list(ODD))
def test_what_the_browser_refuses_is_done_without(site: Site, log_in: LogIn, script: str) -> None:
    page = open_odd(site, log_in, script)

    expect_all_to_work(site, page)


@pytest.mark.parametrize("tag", TAGS)
def test_a_language_that_the_browser_refuses_is_replaced_by_its_own(
    site: Site, log_in: LogIn, tag: str
) -> None:
    script = f"""new MutationObserver((_, observer) => {{
        if (!document.documentElement) return
        document.documentElement.lang = "{tag}"
        observer.disconnect()
    }}).observe(document, {{childList: true}})"""
    page = open_odd(site, log_in, script)

    expect_all_to_work(site, page)
    expect(items(panel(page)).first.locator("time")).to_have_text("just now")


def test_a_tab_that_can_no_longer_share_gets_its_own_connection(
    site: Site, open_tab: Callable[..., Page]
) -> None:
    tabs = [open_tab("alice") for _ in range(2)]
    for tab in tabs:
        expect_online(tab)
    expect_connections(site, tabs[0], 1)

    for tab in tabs:
        tab.evaluate(f"() => {{ {DENY}; BroadcastChannel.prototype.postMessage = deny }}")
    notify(site, 1)

    for tab in tabs:
        expect(badge(tab)).to_have_text("1")
        expect_online(tab)
    expect_connections(site, tabs[0], 2)


def test_the_oldest_supported_browsers_show_counts_toasts_and_the_inbox_page(
    site: Site, log_in: LogIn
) -> None:
    page = open_odd(site, log_in, OLDEST)
    page.route("**/*.css", without_light_dark)
    page.reload()
    expect_online(page)
    site.shell('notify_accounts(alice, "news", "Live", url="https://example.com/b")')
    expect(badge(page)).to_have_text("2")
    expect(toasts(page)).to_contain_text(["Live"])
    for colour in ("background-color", "color"):
        # Not what an unknown function leaves there.
        assert toasts(page).evaluate(f"(toast) => getComputedStyle(toast)['{colour}']") not in {
            "rgba(0, 0, 0, 0)",
            "",
        }

    page.locator("notifications-bell a[data-part=bell]").click()

    page.wait_for_url("**/notifications/")
    main = page.get_by_role("main")
    rows = items(main)
    expect(main.locator("[data-part=content][data-live]")).to_be_visible()
    expect(rows.locator("[data-slot=body]")).to_have_text(["Live", "Old"])
    rows.first.get_by_role("button", name="Archive").click()
    expect(rows).to_have_count(1)
    main.get_by_role("button", name="Undo").click()
    expect(rows).to_have_count(2)
    site.shell('notify_accounts(alice, "news", "Later")')
    expect(rows.locator("[data-slot=body]")).to_have_text(["Later", "Live", "Old"])
    main.get_by_role("button", name="Mark all as read").click()
    expect_no_unread(page)


def without_light_dark(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace("light-dark(", "not-known-yet("))


def with_odd_rows(page: Page, changes: list[dict[str, Any]]) -> None:
    """Change the first rows of every page of the inbox."""

    def change(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for item, change in zip(body["items"], changes, strict=False):
            item.update(change)
        route.fulfill(response=answer, json=body)

    page.route("**/notifications/items/**", change)


@pytest.mark.parametrize("name", MAKE_ODD)
@pytest.mark.parametrize("path", ["/", "/notifications/"])
def test_an_odd_row_is_shown_as_far_as_it_can_be(
    site: Site, open_tab: Callable[..., Page], name: str, path: str
) -> None:
    notify(site, 3)
    page = open_tab("alice", "/login/")
    with_odd_rows(page, [{}, {name: MAKE_ODD[name]}])

    page.goto(path)
    place = open_bell(page) if path == "/" else page.get_by_role("main")

    expect(place.locator("[data-part=content][data-live] [data-part=item]")).to_have_count(3)
    bodies = ["News 3", "" if name == "content" else "News 2", "News 1"]
    expect(items(place).locator("[data-slot=body]")).to_have_text(bodies)


@pytest.mark.parametrize("path", ["/", "/notifications/"])
def test_rows_that_cannot_be_shown_are_left_out(
    site: Site, open_tab: Callable[..., Page], path: str, problems: Problems
) -> None:
    problems.expect("could not be shown")
    notify(site, 25)
    page = open_tab("alice", "/login/")
    unknown = {"id": None, "number": None}
    with_odd_rows(
        page, [{"content": {"body": NO_TEXT}}, {}, {"content": {"body": NO_TEXT}}, unknown]
    )

    page.goto(path)
    place = open_bell(page) if path == "/" else page.get_by_role("main")

    expect(place.locator("[data-part=content][data-live] [data-part=item]")).to_have_count(22)
    expect(items(place).first).to_contain_text("News 24")
    expect(items(place).last).to_contain_text("News 1")
    expect(badge(page)).to_have_text("25")
    site.shell('notify_accounts(alice, "news", "Later")')
    expect(items(place).first).to_contain_text("Later")
    assert len([text for text in problems.found if "could not be shown" in text]) == 1


def test_the_servers_rows_stay_where_none_can_be_shown(
    site: Site, open_tab: Callable[..., Page], problems: Problems
) -> None:
    problems.expect("could not be shown")
    notify(site, 3)
    page = open_tab("alice", "/login/")
    with_odd_rows(page, [{"content": {"body": NO_TEXT}}] * 3)

    with page.expect_response("**/notifications/items/**"):
        page.goto("/notifications/")
    main = page.get_by_role("main")
    expect(main.locator("notifications-inbox")).to_have_attribute("aria-busy", "false")

    expect(items(main).locator("[data-part=body]")).to_have_text(["News 3", "News 2", "News 1"])
    site.shell('notify_accounts(alice, "news", "Later")')
    expect(items(main).locator("[data-part=body]")).to_have_text(["Later"])


def test_a_toast_that_cannot_be_shown_takes_no_other_with_it(
    open_tab: Callable[..., Page], problems: Problems
) -> None:
    problems.expect("could not be shown")
    page = open_tab("alice")
    expect_online(page)

    page.evaluate(
        """(text) => {
            const client = globalThis[Symbol.for("notifications.client")]
            const detail = [text, "Hello"].map((body) =>
                ({ notification: { type: "news", content: { body } }, since: Date.now() }))
            client.dispatchEvent(new CustomEvent("announce", { detail }))
        }""",
        NO_TEXT,
    )

    expect(toasts(page)).to_have_count(1)
    expect(toasts(page)).to_contain_text("Hello")
    expect(bell(page)).to_be_visible()
