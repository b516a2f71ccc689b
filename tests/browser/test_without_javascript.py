"""The inbox works without JavaScript."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from .elements import badge, expect_no_unread, items, notify
from .site import Site


@pytest.fixture
def plain_page(site: Site, log_in: Callable[..., BrowserContext]) -> Page:
    return log_in("alice", site, java_script_enabled=False).new_page()


def test_the_bell_is_a_link_with_the_count(site: Site, plain_page: Page) -> None:
    notify(site, 2)
    plain_page.goto("/")

    plain_page.get_by_role("link", name="Notifications 2 unread").click()

    expect(plain_page.get_by_role("heading", name="Notifications")).to_be_visible()
    expect(items(plain_page)).to_have_count(2)


def test_marking_one_and_then_all(site: Site, plain_page: Page) -> None:
    notify(site, 3)
    plain_page.goto("/notifications/")

    items(plain_page).first.get_by_role("button", name="Mark as read").click()
    expect(plain_page.locator("[data-part=item][data-state=unread]")).to_have_count(2)
    plain_page.get_by_role("link", name="Unread", exact=True).click()
    expect(items(plain_page)).to_have_count(2)
    plain_page.get_by_role("button", name="Mark all as read").click()

    expect(plain_page.get_by_text("You're all caught up")).to_be_visible()
    plain_page.get_by_role("link", name="All", exact=True).click()
    expect(items(plain_page)).to_have_count(3)
    expect_no_unread(plain_page)


def test_following_a_link_marks_the_item_as_read(site: Site, plain_page: Page) -> None:
    site.shell(
        'notify_accounts(alice, "paid", "Order 1 is paid", url="/orders/1/")\n'
        'notify_accounts(alice, "card", "Elsewhere", url="https://example.com/card")'
    )
    plain_page.goto("/notifications/")
    elsewhere = plain_page.get_by_role("link", name="Elsewhere")
    expect(elsewhere).to_have_attribute("href", "https://example.com/card")

    plain_page.get_by_role("button", name="Order 1 is paid").click()

    expect(plain_page.get_by_role("heading", name="Espresso machine")).to_be_visible()
    expect(badge(plain_page)).to_have_text("1")
    plain_page.goto("/notifications/")
    plain_page.get_by_role("link", name="Order 1 is paid").click()  # read by now: a plain link
    expect(plain_page.get_by_role("heading", name="Espresso machine")).to_be_visible()


def test_a_link_leads_to_older_items(site: Site, plain_page: Page) -> None:
    notify(site, 40)
    plain_page.goto("/notifications/?unread=1")
    expect(items(plain_page)).to_have_count(30)

    plain_page.get_by_role("link", name="Load more").click()

    expect(items(plain_page)).to_have_count(10)
    expect(items(plain_page).first).to_contain_text("News 10")
    items(plain_page).first.get_by_role("button", name="Mark as read").click()
    expect(items(plain_page)).to_have_count(9)  # still on that page
