"""What people see when something happens: toasts and the badge, in every tab."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from harness.balancer import balancer
from harness.services import free_port

from .conftest import Problems
from .elements import (
    badge,
    expect_back_online,
    expect_no_unread,
    expect_online,
    items,
    open_bell,
    panel,
    toasts,
)
from .site import Site

OpenTab = Callable[..., Page]


def pay_and_read(shop: Page, other_tab: Page, bobs_tab: Page) -> None:
    shop.get_by_role("button", name="Pay Espresso machine").click()

    for page in (shop, other_tab):
        expect(page.get_by_role("status")).to_have_text("Order 1 is paid: Espresso machine Close")
        expect(badge(page)).to_have_text("1")
    expect_online(bobs_tab)
    expect_no_unread(bobs_tab)
    expect(toasts(bobs_tab)).to_have_count(0)

    open_bell(other_tab).get_by_role("button", name="Mark as read").click()

    for page in (shop, other_tab):
        expect_no_unread(page)
        expect(toasts(page)).to_have_count(0)
    shop.reload()
    expect_online(shop)
    expect_no_unread(shop)
    expect(toasts(shop)).to_have_count(0)


def test_paying_rings_the_bell_in_every_tab_of_the_account_and_no_other(
    open_tab: OpenTab,
) -> None:
    bobs_tab = open_tab("bob")
    pay_and_read(open_tab("alice"), open_tab("alice"), bobs_tab)

    bobs_tab.get_by_role("button", name="Pay").first.click()

    expect(badge(bobs_tab)).to_have_text("1")  # only his own


def test_the_bell_rings_in_tabs_of_two_server_processes(
    cluster: Site, log_in: Callable[..., BrowserContext]
) -> None:
    first, second = cluster.servers
    alice = log_in("alice", cluster)
    shop, other_tab = alice.new_page(), alice.new_page()
    shop.goto(first.url)
    other_tab.goto(second.url)  # cookies belong to the host, not to the port
    bobs_tab = log_in("bob", cluster).new_page()
    bobs_tab.goto(second.url)
    for page in (shop, other_tab, bobs_tab):
        expect_online(page)

    pay_and_read(shop, other_tab, bobs_tab)

    # A notification that is not stored comes over the shared channel layer only.
    cluster.shell_beside('notify_accounts(alice, "progress", "Half done", persist=False)')
    for page in (shop, other_tab):
        expect(toasts(page)).to_have_text(["Half done Close"])


def test_a_shell_beside_the_server_rings_the_bell(site: Site, open_tab: OpenTab) -> None:
    page = open_tab("alice")
    expect_online(page)

    site.shell_beside('notify_accounts(alice, "shipped", "Your parcel is on its way")')

    expect(toasts(page)).to_contain_text("Your parcel is on its way")
    expect(badge(page)).to_have_text("1")


def test_a_broadcast_appears_everywhere_and_for_accounts_that_log_in_later(
    site: Site, open_tab: OpenTab
) -> None:
    alices_tab, bobs_tab = open_tab("alice"), open_tab("bob")
    expect_online(alices_tab)
    expect_online(bobs_tab)

    site.shell('broadcast("maintenance", "Back in five minutes", level="warning")')

    for page in (alices_tab, bobs_tab):
        expect(toasts(page)).to_contain_text("Back in five minutes")
        expect(badge(page)).to_have_text("1")
    carols_tab = open_tab("carol")
    expect(badge(carols_tab)).to_have_text("1")
    expect(items(open_bell(carols_tab))).to_contain_text("Back in five minutes")

    panel(carols_tab).get_by_role("button", name="Mark as read").click()

    expect_no_unread(carols_tab)
    expect(badge(bobs_tab)).to_have_text("1")
    assert site.shell("print(Broadcast.objects.count())").strip() == "1"


@pytest.mark.own_site
def test_after_a_restart_tabs_reconnect_and_show_each_missed_notification_once(
    site: Site, open_tab: OpenTab, problems: Problems
) -> None:
    problems.expect(r"ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|WebSocket connection")
    page = open_tab("alice")
    expect_online(page)

    site.server.kill()
    site.shell_beside('notify_accounts(alice, "shipped", "Your parcel is on its way")')
    expect(page.locator("notifications-bell")).to_have_attribute("data-status", "offline")
    site.server.start()

    expect_back_online(page)
    expect(toasts(page)).to_have_count(1)
    expect(badge(page)).to_have_text("1")
    expect(items(open_bell(page))).to_have_count(1)


def test_the_tabs_of_a_killed_server_reconnect_to_another(
    cluster: Site, log_in: Callable[..., BrowserContext], problems: Problems
) -> None:
    problems.expect(r"ERR_|WebSocket connection")
    first, second = cluster.servers
    with balancer(free_port(), [first.port, second.port]) as url:
        page = log_in("alice", cluster).new_page()
        page.goto(url)
        expect_online(page)
        # With a link, its toast stays however long the tab is offline.
        cluster.shell('notify_accounts(alice, "hello", "before", url="/orders/1/")')
        expect(toasts(page)).to_have_text(["before Close"])

        first.kill()
        cluster.shell_beside('notify_accounts(alice, "hello", "meanwhile")')

        expect(badge(page)).to_have_text("2", timeout=60_000)
        expect(toasts(page)).to_have_text(["before Close", "meanwhile Close"])
        expect_online(page)


@pytest.mark.own_site
def test_many_missed_notifications_are_three_toasts_and_a_number(
    site: Site, open_tab: OpenTab, problems: Problems
) -> None:
    problems.expect(r"ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|WebSocket connection")
    page = open_tab("alice")
    expect_online(page)

    site.server.kill()
    site.shell_beside('for n in range(8): notify_accounts(alice, "news", f"News {n}")')
    site.server.start()

    expect_back_online(page)
    expect(toasts(page)).to_have_text(
        ["5 more notifications Close", "News 5 Close", "News 6 Close", "News 7 Close"]
    )
    expect(badge(page)).to_have_text("8")


@pytest.mark.own_site
def test_a_notification_that_was_read_before_the_tab_reconnected_is_not_announced(
    site: Site, open_tab: OpenTab, problems: Problems
) -> None:
    problems.expect(r"ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|WebSocket connection")
    page = open_tab("alice")
    expect_online(page)

    site.server.kill()
    site.shell_beside(
        'result = notify_accounts(alice, "shipped", "Read elsewhere")\n'
        "from notifications.audiences import Recipient\n"
        "from notifications.inbox.marks import mark\n"
        'mark(Recipient.of(alice), "read", [f"n{result.ids[0]}"])\n'
        'notify_accounts(alice, "shipped", "Still new")'
    )
    site.server.start()

    expect_back_online(page)
    expect(toasts(page)).to_have_text(["Still new Close"])
    expect(badge(page)).to_have_text("1")


def test_a_toast_that_is_still_shown_moves_to_the_next_page(site: Site, open_tab: OpenTab) -> None:
    page = open_tab("alice")
    expect_online(page)
    site.shell('notify_accounts(alice, "a", "First"); notify_accounts(alice, "b", "Second")')
    expect(toasts(page)).to_have_count(2)
    toasts(page).filter(has_text="Second").get_by_role("button", name="Close").click()
    expect(toasts(page)).to_have_text(["First Close"])

    page.get_by_role("link", name="Walnut desk lamp").click()

    expect(page.get_by_role("heading", name="Walnut desk lamp")).to_be_visible()
    expect(toasts(page)).to_have_text(["First Close"])
    expect(badge(page)).to_have_text("2")


def test_notifications_from_before_the_page_loaded_are_not_announced(
    site: Site, open_tab: OpenTab
) -> None:
    site.shell('notify_accounts(alice, "shipped", "From before")')

    page = open_tab("alice")

    expect(badge(page)).to_have_text("1")
    expect_online(page)
    expect(toasts(page)).to_have_count(0)


def test_a_toast_times_out_unless_the_pointer_is_on_it(site: Site, open_tab: OpenTab) -> None:
    page = open_tab("alice")
    page.clock.install()
    page.reload()
    expect_online(page)
    site.shell('notify_accounts(alice, "a", "Read me slowly")')
    toasts(page).hover()

    page.clock.run_for(20_000)
    expect(toasts(page)).to_have_count(1)

    page.mouse.move(10, 10)
    page.clock.run_for(20_000)
    expect(toasts(page)).to_have_count(0)
    expect(badge(page)).to_have_text("1")


def test_closing_a_toast_marks_nothing(site: Site, open_tab: OpenTab) -> None:
    page = open_tab("alice")
    expect_online(page)
    site.shell('notify_accounts(alice, "a", "Later")')

    toasts(page).get_by_role("button", name="Close").click()

    expect(toasts(page)).to_have_count(0)
    page.reload()
    expect(badge(page)).to_have_text("1")


def test_toasts_can_be_closed_with_the_keyboard_one_after_the_other(
    site: Site, open_tab: OpenTab
) -> None:
    page = open_tab("alice")
    expect_online(page)
    site.shell('for n in range(3): notify_accounts(alice, "a", f"News {n}")')
    expect(toasts(page)).to_have_count(3)
    toasts(page).first.get_by_role("button", name="Close").focus()

    for left in (2, 1, 0):
        page.keyboard.press("Enter")
        expect(toasts(page)).to_have_count(left)


def test_following_a_toasts_link_marks_it_as_read(open_tab: OpenTab) -> None:
    page, other_tab = open_tab("alice"), open_tab("alice")
    page.get_by_role("button", name="Pay Walnut desk lamp").click()

    toasts(other_tab).get_by_role("link").click()

    expect(other_tab.get_by_role("heading", name="Walnut desk lamp")).to_be_visible()
    expect_no_unread(other_tab)
    expect_no_unread(page)


def test_a_notification_that_is_not_stored_is_only_announced(site: Site, open_tab: OpenTab) -> None:
    page = open_tab("alice")
    expect_online(page)

    site.shell('notify_accounts(alice, "progress", "Half done", persist=False)')

    expect(toasts(page)).to_have_text(["Half done Close"])
    expect_no_unread(page)
    expect(open_bell(page).get_by_text("No notifications yet")).to_be_visible()


def test_a_replacement_replaces_the_older_toast(site: Site, open_tab: OpenTab) -> None:
    page = open_tab("alice")
    expect_online(page)
    for step in ("packed", "sent"):
        site.shell(f'notify_accounts(alice, "parcel", "Parcel {step}", replace_key="parcel")')
        expect(toasts(page)).to_have_text([f"Parcel {step} Close"])

    expect(badge(page)).to_have_text("1")
    expect(items(open_bell(page))).to_have_count(1)


@pytest.mark.parametrize("count", [99, 100])
def test_the_badge_stops_counting_at_99(site: Site, open_tab: OpenTab, count: int) -> None:
    site.shell(f'for n in range({count}): notify_accounts(alice, "a", "News")')

    page = open_tab("alice")

    expect(badge(page)).to_have_text("99" if count == 99 else "99+")
