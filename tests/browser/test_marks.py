"""Marks reach the server in the order in which they were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, expect

from .client import CLIENT, LATER_REQUEST, wait_until
from .elements import badge, expect_no_unread, expect_online, items, notify, open_bell
from .site import Site

OpenTab = Callable[..., Page]
STATES = """
from notifications.inbox import pages
from notifications.audiences import Recipient
rows = pages.read_page(Recipient.of(alice), None).items
print(*(item["state"] for item in rows))
"""


def hold_first_mark(page: Page) -> tuple[list[Route], list[Any]]:
    """Return the first mark's request, which a slow network holds; and all that was sent."""
    held: list[Route] = []
    sent: list[Any] = []

    def hold(route: Route) -> None:
        sent.append(route.request.post_data_json)
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/notifications/mark/", hold)
    return held, sent


def test_two_marks_at_once_arrive_in_order(site: Site, open_tab: OpenTab) -> None:
    notify(site, 1)
    page = open_tab("alice")
    expect_online(page)
    row = items(open_bell(page))
    held, sent = hold_first_mark(page)

    row.get_by_role("button", name="Mark as read").press("Enter")
    row.get_by_role("button", name="Mark as unread").press("Enter")
    expect(badge(page)).to_have_text("1")
    row.get_by_role("button", name="Mark as read").press("Enter")
    expect_no_unread(page)
    wait_until(page, lambda: len(held) == 1)
    page.evaluate(LATER_REQUEST)
    assert len(sent) == 1
    held[0].continue_()

    wait_until(page, lambda: len(sent) == 3)
    assert [mark["as"] for mark in sent] == ["read", "unread", "read"]
    page.reload()
    expect_online(page)
    expect_no_unread(page)


def test_an_undo_arrives_after_the_mark_before_it(site: Site, open_tab: OpenTab) -> None:
    notify(site, 2)
    page = open_tab("alice")
    expect_online(page)
    ids = page.evaluate(f"() => {CLIENT}.load().then(() => {CLIENT}.items().map(({{id}}) => id))")
    range_ = page.evaluate(f"(id) => {CLIENT}.mark([id], 'read').then((a) => a.range)", ids[0])
    held, sent = hold_first_mark(page)

    page.evaluate(
        f"""([ids, range]) => {{
            {CLIENT}.mark(ids, "unread")
            window.undone = {CLIENT}.undo(range)
        }}""",
        [ids, range_],
    )
    wait_until(page, lambda: len(held) == 1)
    page.evaluate(LATER_REQUEST)
    assert len(sent) == 1
    held[0].continue_()

    page.evaluate("() => window.undone")
    assert sent[1] == {"undo": range_}


def test_a_mark_on_the_way_out_does_not_wait_and_carries_those_before_it(
    site: Site, open_tab: OpenTab
) -> None:
    site.shell('notify_accounts(alice, "paid", "Paid", url="/orders/1/")')
    notify(site, 3)
    page = open_tab("alice")
    expect_online(page)
    rows = items(open_bell(page))
    expect(rows).to_have_count(4)
    held, _ = hold_first_mark(page)

    rows.nth(0).get_by_role("button", name="Mark as read").click()
    wait_until(page, lambda: len(held) == 1)
    rows.nth(1).get_by_role("button", name="Mark as read").click()
    rows.nth(2).get_by_role("button", name="Mark as read").click()
    rows.nth(2).get_by_role("button", name="Mark as unread").click()
    rows.get_by_role("link", name="Paid").click()
    expect(page.get_by_role("heading", name="Espresso machine")).to_be_visible()

    wait_until(page, lambda: site.shell(STATES).split() == ["unread", "read", "unread", "read"])
    held[0].continue_()


def test_marks_on_the_way_out_are_done_in_their_order(site: Site, open_tab: OpenTab) -> None:
    notify(site, 4)
    page = open_tab("alice")
    expect_online(page)
    ids = page.evaluate(f"() => {CLIENT}.load().then(() => {CLIENT}.items().map(({{id}}) => id))")
    range_ = page.evaluate(f"(id) => {CLIENT}.mark([id], 'read').then((a) => a.range)", ids[2])
    held, sent = hold_first_mark(page)
    page.evaluate(f"(id) => {{ {CLIENT}.mark([id], 'read') }}", ids[0])
    wait_until(page, lambda: len(held) == 1)

    page.evaluate(
        f"""([ids, range]) => {{
            {CLIENT}.mark([ids[1]], "archived")
            {CLIENT}.mark([ids[1]], "read")
            {CLIENT}.undo(range)
            {CLIENT}.mark([ids[2]], "archived")
            {CLIENT}.mark([ids[2]], "inbox")
            {CLIENT}.mark([ids[3]], "read")
        }}""",
        [ids, range_],
    )
    page.evaluate("() => { dispatchEvent(new Event('pagehide')) }")

    # The second one is archived, and so is not marked as read.
    wait_until(page, lambda: site.shell(STATES).split() == ["unread", "unread", "read"])
    assert [list(body) for body in sent] == [["ids", "as"], ["marks"]]
    held[0].continue_()
