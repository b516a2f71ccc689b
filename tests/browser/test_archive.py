"""Archiving and moving back, on every device, with undo."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from harness.long_list import jump_to_end, load_all, remember_ends

from .conftest import Problems
from .elements import badge, expect_online, items, notify, open_bell, panel
from .site import Site

OpenTab = Callable[..., Page]


def press(item: Locator, mark: str) -> None:
    item.get_by_role("button", name=mark, exact=True).press("Enter")


def test_archiving_and_moving_back_reach_every_device(
    site: Site, open_tab: OpenTab, log_in: Callable[..., BrowserContext]
) -> None:
    notify(site, 2)
    page, phone = open_tab("alice"), log_in("alice", site).new_page()
    phone.goto("/notifications/")
    expect_online(phone)
    rows, phones_rows = items(open_bell(page)), items(phone)
    expect(rows).to_have_count(2)

    press(rows.first, "Archive")
    for each in (rows, phones_rows):
        expect(each).to_have_count(1)
        expect(each).to_contain_text("News 1")
    for each in (page, phone):
        expect(badge(each)).to_have_text("1")
    mark_all = panel(page).get_by_role("button", name="Mark all as read")
    expect(mark_all).to_be_visible()
    panel(page).get_by_role("button", name="Archived").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("News 2")
    expect(mark_all).to_be_hidden()  # none of these is unread

    press(rows, "Move to inbox")
    expect(phones_rows).to_have_count(2)
    expect(panel(page).get_by_text("Nothing archived")).to_be_visible()
    panel(page).get_by_role("button", name="All", exact=True).click()
    expect(rows).to_have_count(2)
    expect(rows.first).to_have_attribute("data-state", "unread")


def test_moving_back_reaches_a_device_that_never_had_the_item(
    site: Site, open_tab: OpenTab, log_in: Callable[..., BrowserContext]
) -> None:
    notify(site, 2)
    page = open_tab("alice")
    expect_online(page)
    rows = items(open_bell(page))
    press(rows.first, "Archive")
    expect(rows).to_have_count(1)
    phone = log_in("alice", site).new_page()
    phone.goto("/notifications/")
    expect_online(phone)
    phones_rows = items(phone)
    expect(phones_rows).to_have_count(1)

    panel(page).get_by_role("button", name="Archived").click()
    press(rows, "Move to inbox")

    expect(phones_rows).to_have_count(2)
    expect(phones_rows.first).to_contain_text("News 2")
    expect(badge(phone)).to_have_text("2")


@pytest.mark.parametrize("path", ["/", "/notifications/"])
def test_undo_reverses_the_last_action(site: Site, open_tab: OpenTab, path: str) -> None:
    notify(site, 3)
    page = open_tab("alice", path)
    expect_online(page)
    place = open_bell(page) if path == "/" else page.get_by_role("main")
    undo = place.get_by_role("button", name="Undo")
    # The server-rendered list has been replaced: a key pressed before that would be lost.
    expect(page.locator("notifications-inbox[aria-busy=false]").first).to_be_attached()
    expect(items(place)).to_have_count(3)

    press(items(place).first, "Archive")
    expect(items(place)).to_have_count(2)
    undo.click()
    expect(items(place)).to_have_count(3)
    expect(undo).to_be_hidden()
    expect(items(place).first).to_have_attribute("data-state", "unread")
    with page.expect_response("**/notifications/mark/"):  # of two requests, either may be first
        press(items(place).last, "Mark as read")
    place.get_by_role("button", name="Mark all as read").click()
    expect(badge(page)).to_be_hidden()

    undo.click()

    expect(badge(page)).to_have_text("2")  # without the one that had been read before
    expect(items(place).last).to_have_attribute("data-state", "read")


@pytest.mark.parametrize("status", [403, 500])
def test_a_change_that_the_server_refuses_is_reverted_with_a_message(
    site: Site, open_tab: OpenTab, problems: Problems, status: int
) -> None:
    problems.expect(str(status))
    notify(site, 2)
    page = open_tab("alice")
    rows = items(open_bell(page))
    expect(rows).to_have_count(2)
    page.route("**/notifications/mark/", lambda route: route.fulfill(status=status, body="{}"))

    press(rows.first, "Archive")

    expect(panel(page).get_by_role("alert")).to_contain_text("Couldn't save your change.")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("News 2")
    expect(badge(page)).to_have_text("2")


def test_times_stay_current(site: Site, open_tab: OpenTab) -> None:
    notify(site, 1)
    page = open_tab("alice")
    page.clock.install()
    page.reload()
    expect_online(page)
    time = items(open_bell(page)).locator("time")
    expect(time).to_have_text("just now")

    page.clock.fast_forward(60_000)
    expect(time).to_have_text("1 minute ago")
    page.clock.fast_forward(120_000)
    expect(time).to_have_text(re.compile("[23] minutes ago"))


def test_times_out_of_sight_are_current_when_they_come_into_view(
    site: Site, open_tab: OpenTab
) -> None:
    notify(site, 60)
    page = open_tab("alice", "/notifications/")
    page.clock.install()
    page.reload()
    load_all(page)
    remember_ends(page)
    last = items(page).last.locator("time")
    page.wait_for_function("() => !last.checkVisibility({ contentVisibilityAuto: true })")

    page.clock.fast_forward(300_000)
    assert last.text_content() == "just now"
    jump_to_end(page)

    expect(last).to_have_text("5 minutes ago")
