"""Important broadcasts at the top of every page, until they are dismissed."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import BrowserContext, Locator, Page, expect

from .conftest import Problems
from .elements import expect_no_unread, expect_online
from .site import Site

OpenTab = Callable[..., Page]
BOTH = (
    'broadcast("works", "Slow tonight", level="warning")\n'
    'broadcast("down", "Payments are down", level="error")\n'
    'broadcast("news", "Free coffee", level="info")'
)


def banners(page: Page) -> Locator:
    return page.get_by_role("region", name="Important notices").locator("[data-part=banner]")


def dismiss(banner: Locator) -> None:
    banner.get_by_role("button", name="Dismiss").press("Enter")


def test_dismissing_a_banner_holds_on_all_devices(
    site: Site, open_tab: OpenTab, log_in: Callable[..., BrowserContext]
) -> None:
    laptop, phone = open_tab("alice"), log_in("alice", site).new_page()
    phone.goto("/")
    bobs_tab = open_tab("bob")
    for page in (laptop, phone, bobs_tab):
        expect_online(page)

    site.shell(BOTH)
    for page in (laptop, phone, bobs_tab):
        expect(banners(page)).to_have_count(2)
    expect(banners(laptop)).to_contain_text(["Payments are down", "Slow tonight"])

    dismiss(banners(laptop).first)
    for page in (laptop, phone):
        expect(banners(page)).to_have_count(1)
        expect(banners(page)).to_contain_text("Slow tonight")
    expect(banners(laptop)).to_be_focused()
    dismiss(banners(laptop))
    for page in (laptop, phone):
        expect(banners(page)).to_have_count(0)
    expect(laptop.locator("[data-slot=banners]")).to_be_focused()

    phone.reload()
    expect_online(phone)
    expect(banners(phone)).to_have_count(0)
    expect(banners(bobs_tab)).to_have_count(2)


def test_on_a_slow_computer_all_banners_are_shown(site: Site, open_tab: OpenTab) -> None:
    page = open_tab("alice")
    expect_online(page)
    page.evaluate(
        """() => {
          const { cloneNode } = Node.prototype
          Node.prototype.cloneNode = function (deep) {
            for (const start = performance.now(); performance.now() - start < 20; );
            return cloneNode.call(this, deep)
          }
        }"""
    )

    site.shell(BOTH)

    expect(banners(page)).to_have_count(2)


def test_a_banner_can_be_dismissed_without_javascript(
    site: Site, log_in: Callable[..., BrowserContext]
) -> None:
    site.shell(BOTH)
    page = log_in("alice", site, java_script_enabled=False).new_page()
    page.goto("/orders/1/")
    expect(banners(page)).to_have_count(2)

    banners(page).first.get_by_role("button", name="Dismiss").click()

    expect(banners(page)).to_have_count(1)
    expect(
        page.get_by_role("heading", name="Espresso machine")
    ).to_be_visible()  # the page has not changed


def test_a_banner_that_could_not_be_dismissed_stays_with_a_message(
    site: Site, open_tab: OpenTab, problems: Problems
) -> None:
    problems.expect("ERR_FAILED")
    site.shell('broadcast("works", "Slow tonight", level="warning")')
    page = open_tab("alice")
    expect(page.locator("notifications-banner [data-fallback]")).to_have_count(
        0
    )  # the live ones are there
    page.route("**/notifications/mark/", lambda route: route.abort())

    dismiss(banners(page))
    expect(page.get_by_role("alert")).to_have_text("Couldn't save your change.")
    expect(banners(page)).to_have_count(1)
    page.unroute("**/notifications/mark/")
    dismiss(banners(page))

    expect(banners(page)).to_have_count(0)
    expect(page.get_by_role("alert")).to_be_hidden()
    expect_no_unread(page)
