"""Everything works with the keyboard alone, and the focus is never lost."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, Route, expect

from .client import wait_until
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

OpenTab = Callable[..., Page]


def tab_to(page: Page, place: Locator, key: str = "Tab") -> None:
    """Press the key until the focus is there."""
    for _ in range(60):
        page.keyboard.press(key)
        if place.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"{key} does not lead to {place}")


def test_everything_in_the_panel_is_reached_in_order(site: Site, open_tab: OpenTab) -> None:
    site.shell('notify_accounts(alice, "paid", "Order 1 is paid", url="/orders/1/")')
    page = open_tab("alice")
    expect_online(page)

    tab_to(page, bell(page))
    page.keyboard.press("Enter")
    expect(panel(page)).to_be_focused()
    expect(items(panel(page))).to_have_count(1)
    names = []
    for _ in range(9):
        page.keyboard.press("Tab")
        names.append(page.locator(":focus").inner_text().strip())

    assert names == [
        *("Mark all as read", "Close", "All", "Unread", "Archived"),
        *("Order 1 is paid", "Mark as read", "Archive", "See all notifications"),
    ]
    tab_to(page, panel(page).get_by_role("link", name="Order 1 is paid"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Espresso machine")).to_be_visible()
    expect_no_unread(page)


def test_moving_the_focus_past_the_panel_closes_it(site: Site, open_tab: OpenTab) -> None:
    notify(site, 1)
    page = open_tab("alice")
    expect(items(open_bell(page))).to_have_count(1)
    tab_to(page, panel(page).get_by_role("link", name="See all notifications"))

    page.keyboard.press("Tab")

    expect(panel(page)).to_be_hidden()
    expect(bell(page)).to_have_attribute("aria-expanded", "false")
    expect(page.locator("a:focus, button:focus")).to_be_visible()


def test_one_key_moves_the_focus_to_the_newest_toast_and_another_back(
    site: Site, open_tab: OpenTab
) -> None:
    page = open_tab("alice")
    expect_online(page)
    notify(site, 2)
    expect(toasts(page)).to_have_count(2)
    place = page.get_by_role("button", name="Log out")
    place.focus()

    page.keyboard.press("F8")
    expect(toasts(page).last.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(place).to_be_focused()

    page.keyboard.press("F8")
    for left in (1, 0):
        page.keyboard.press("Enter")
        expect(toasts(page)).to_have_count(left)
    expect(place).to_be_focused()


def test_the_focus_stays_when_the_bell_replaces_the_servers(open_tab: OpenTab) -> None:
    page = open_tab("alice", "/login/")
    asked: list[Route] = []
    page.route("**/elements/bell.js", lambda route: asked.append(route))
    page.goto("/", wait_until="commit")
    page.locator("a[data-part=bell]").focus()
    wait_until(page, lambda: len(asked) > 0)

    asked[0].continue_()

    expect(bell(page)).to_be_focused()


def test_the_focus_stays_when_the_live_list_replaces_the_servers(
    site: Site, open_tab: OpenTab
) -> None:
    notify(site, 30)  # rows are rendered in batches of twenty
    page = open_tab("alice", "/login/")
    asked: list[Route] = []
    page.route("**/notifications/items/**", lambda route: asked.append(route))
    page.goto("/notifications/")
    rows = items(page.get_by_role("main"))
    rows.last.get_by_role("button", name="Archive").focus()
    wait_until(page, lambda: len(asked) > 0)

    for route in asked:
        route.continue_()

    expect(page.locator("main notifications-inbox")).to_have_attribute("aria-busy", "false")
    expect(rows.last).to_be_focused()


def test_the_focus_moves_to_the_neighbour_of_a_row_that_is_removed(
    site: Site, open_tab: OpenTab
) -> None:
    notify(site, 3)
    page = open_tab("alice")
    rows = items(open_bell(page))
    expect(rows).to_have_count(3)

    rows.nth(1).get_by_role("button", name="Archive").press("Enter")
    expect(rows).to_have_count(2)
    expect(rows.last).to_be_focused()
    expect(rows.last).to_contain_text("News 1")
    rows.last.get_by_role("button", name="Archive").press("Enter")
    expect(rows).to_have_count(1)
    expect(rows).to_be_focused()
    rows.get_by_role("button", name="Archive").press("Enter")

    expect(panel(page).get_by_text("No notifications yet")).to_be_visible()
    expect(panel(page).locator("[data-part=content]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(bell(page)).to_be_focused()


def test_undo_works_wherever_the_focus_is(site: Site, open_tab: OpenTab) -> None:
    notify(site, 2)
    page = open_tab("alice")
    rows = items(open_bell(page))
    expect(rows).to_have_count(2)

    rows.first.get_by_role("button", name="Archive").press("Enter")
    expect(panel(page).get_by_role("button", name="Undo")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(rows).to_have_count(2)
    expect(rows.last).to_be_focused()
    expect(panel(page).get_by_role("button", name="Undo")).to_be_hidden()

    panel(page).get_by_role("button", name="Mark all as read").press("Enter")
    expect_no_unread(page)
    panel(page).get_by_role("button", name="Undo").press("Enter")

    expect(badge(page)).to_have_text("2")
    expect(panel(page).locator("[data-part=content]")).to_be_focused()


def test_the_focus_stays_in_the_list_when_the_pages_button_disappears(
    site: Site, open_tab: OpenTab
) -> None:
    notify(site, 1)
    page = open_tab("alice", "/notifications/")
    expect_online(page)
    inbox = page.get_by_role("main")
    expect(inbox.locator("notifications-inbox")).to_have_attribute("aria-busy", "false")

    inbox.get_by_role("button", name="Mark all as read").press("Enter")

    expect(inbox.get_by_role("button", name="Mark all as read")).to_be_hidden()
    expect(inbox.locator("[data-part=content]")).to_be_focused()


def test_the_focus_moves_on_to_the_next_page(site: Site, open_tab: OpenTab) -> None:
    notify(site, 35)
    page = open_tab("alice")
    rows = items(open_bell(page))
    expect(rows).to_have_count(30)

    panel(page).get_by_role("button", name="Load more").focus()

    expect(rows).to_have_count(35)
    expect(rows.nth(30)).to_be_focused()


def test_trying_again_keeps_the_focus_in_the_panel(
    site: Site, open_tab: OpenTab, problems: Problems
) -> None:
    problems.expect("ERR_FAILED")
    notify(site, 1)
    page = open_tab("alice")
    page.route("**/notifications/items/**", lambda route: route.abort())
    retry = open_bell(page).get_by_role("button", name="Try again")
    expect(retry).to_be_visible()
    page.unroute("**/notifications/items/**")

    retry.press("Enter")

    expect(items(panel(page))).to_have_count(1)
    expect(panel(page).locator("[data-part=content]")).to_be_focused()
