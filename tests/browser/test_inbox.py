"""The panel and the inbox page, with JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from playwright.sync_api import Page, Route, expect

from .conftest import Problems
from .elements import badge, bell, expect_no_unread, expect_online, items, notify, open_bell, panel
from .site import Site

OpenTab = Callable[..., Page]


def test_opening_the_bell_marks_nothing(site: Site, open_tab: OpenTab) -> None:
    notify(site, 2)
    page = open_tab("alice")

    expect(items(open_bell(page))).to_have_count(2)
    page.reload()

    expect(badge(page)).to_have_text("2")


def test_mark_all_as_read_clears_every_tab(site: Site, open_tab: OpenTab) -> None:
    notify(site, 3)
    site.shell('broadcast("maintenance", "Back soon")')
    page, other_tab = open_tab("alice"), open_tab("alice")
    expect(badge(page)).to_have_text("4")
    expect(items(open_bell(other_tab))).to_have_count(4)

    open_bell(page).get_by_role("button", name="Mark all as read").click()

    for tab in (page, other_tab):
        expect_no_unread(tab)
        expect(tab.locator("[data-part=item][data-state=unread]")).to_have_count(0)
    page.reload()
    expect_online(page)
    expect_no_unread(page)


def test_older_items_load_at_the_end_of_the_panel(site: Site, open_tab: OpenTab) -> None:
    notify(site, 70)
    page = open_tab("alice")
    expect(items(open_bell(page))).to_have_count(30)

    panel(page).get_by_role("button", name="Load more").click()
    # Reaching the button is reaching the end, which loads more by itself.
    expect(items(panel(page)).nth(59)).to_be_attached()
    items(panel(page)).last.scroll_into_view_if_needed()

    expect(items(panel(page))).to_have_count(70)
    bodies = items(panel(page)).locator("[data-part=body]").all_text_contents()
    assert bodies == [f"News {n}" for n in range(70, 0, -1)]
    expect(panel(page).get_by_role("button", name="Load more")).to_be_hidden()


def test_the_list_is_complete_on_a_slow_computer_too(site: Site, open_tab: OpenTab) -> None:
    notify(site, 3)
    page = open_tab("alice")
    expect_online(page)
    page.evaluate("() => { let now = performance.now(); performance.now = () => (now += 10) }")

    expect(items(open_bell(page))).to_have_count(3)


def test_following_an_items_link_marks_it_as_read(open_tab: OpenTab) -> None:
    page = open_tab("alice")
    page.get_by_role("button", name="Pay Espresso machine").click()

    open_bell(page).get_by_role("link", name="Order 1 is paid").click()

    expect(page.get_by_role("heading", name="Espresso machine")).to_be_visible()
    expect_no_unread(page)


def test_the_panel_works_with_the_keyboard(site: Site, open_tab: OpenTab) -> None:
    notify(site, 2)
    page = open_tab("alice")
    bell(page).focus()

    page.keyboard.press("Enter")
    expect(items(panel(page))).to_have_count(2)
    for _ in range(6):  # past “Mark all as read”, “Close” and the three folders
        page.keyboard.press("Tab")
    expect(panel(page).get_by_role("button", name="Mark as read").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(badge(page)).to_have_text("1")
    expect(items(panel(page)).first).to_be_focused()
    page.keyboard.press("Escape")

    expect(panel(page)).to_be_hidden()
    expect(bell(page)).to_be_focused()


def test_the_focus_stays_in_the_panel_when_its_button_disappears(
    site: Site, open_tab: OpenTab
) -> None:
    notify(site, 2)
    page = open_tab("alice")
    expect(items(open_bell(page))).to_have_count(2)

    panel(page).get_by_role("button", name="Mark all as read").press("Enter")

    expect(panel(page).get_by_role("button", name="Mark all as read")).to_be_hidden()
    expect(panel(page)).to_be_focused()
    page.keyboard.press("Escape")
    expect(bell(page)).to_be_focused()


def test_a_click_beside_the_panel_closes_it(open_tab: OpenTab) -> None:
    page = open_tab("alice")
    open_bell(page)

    page.mouse.click(5, 400)  # where nothing can have the focus

    expect(panel(page)).to_be_hidden()
    expect(bell(page)).to_have_attribute("aria-expanded", "false")


def test_a_notification_appears_in_the_open_panel(site: Site, open_tab: OpenTab) -> None:
    notify(site, 2)
    page = open_tab("alice")
    expect(items(open_bell(page))).to_have_count(2)

    site.shell('notify_accounts(alice, "news", "The newest")')

    expect(items(panel(page))).to_have_count(3)
    expect(items(panel(page)).first).to_contain_text("The newest")


def test_a_mark_that_fails_shows_a_message_and_can_be_tried_again(
    site: Site, open_tab: OpenTab, problems: Problems
) -> None:
    problems.expect("ERR_INTERNET_DISCONNECTED|WebSocket")
    notify(site, 1)
    page = open_tab("alice")
    expect(items(open_bell(page))).to_have_count(1)
    page.context.set_offline(True)

    panel(page).get_by_role("button", name="Mark as read").click()
    expect(panel(page).get_by_role("alert")).to_be_visible()
    page.context.set_offline(False)
    panel(page).get_by_role("button", name="Mark as read").click()

    expect_no_unread(page)
    expect(panel(page).get_by_role("alert")).to_be_hidden()


def test_try_again_repeats_the_mark_that_failed(
    site: Site, open_tab: OpenTab, problems: Problems
) -> None:
    problems.expect("ERR_FAILED")
    notify(site, 40)
    page = open_tab("alice")
    expect(items(open_bell(page))).to_have_count(30)
    page.route("**/notifications/mark/**", lambda route: route.abort())
    panel(page).get_by_role("button", name="Mark as read").first.click()
    expect(panel(page).get_by_role("alert")).to_be_visible()
    page.unroute("**/notifications/mark/**")

    panel(page).get_by_role("button", name="Try again").click()

    expect(badge(page)).to_have_text("39")
    expect(items(panel(page)).first).to_have_attribute("data-state", "read")
    expect(panel(page).get_by_role("alert")).to_be_hidden()


def test_a_notification_that_comes_during_a_mark_stays_unread(
    site: Site, open_tab: OpenTab
) -> None:
    notify(site, 1)
    page = open_tab("alice")
    expect(items(open_bell(page))).to_have_count(1)
    held: list[Route] = []
    page.route("**/notifications/mark/", lambda route: held.append(route))
    with page.expect_request("**/notifications/mark/"):
        panel(page).get_by_role("button", name="Mark as read").click()
    notify(site, 1)
    expect(items(panel(page))).to_have_count(2)

    held[0].continue_()

    expect(items(panel(page)).last).to_have_attribute("data-state", "read")
    expect(items(panel(page))).to_have_count(2)
    expect(badge(page)).to_have_text("1")


@pytest.mark.parametrize("width", [320, 1280])
def test_the_panel_stays_within_the_window(site: Site, open_tab: OpenTab, width: int) -> None:
    notify(site, 40)
    page = open_tab("alice")
    page.set_viewport_size({"width": width, "height": 600})

    expect(items(open_bell(page))).to_have_count(30)

    panel(page).evaluate("(panel) => Promise.all(panel.getAnimations().map((a) => a.finished))")
    box = panel(page).bounding_box()
    assert box
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert box["y"] >= 0 and box["y"] + box["height"] <= 600
    if width == 320:
        assert box["width"] == width


def test_the_panel_is_in_the_window_wherever_the_bell_is(site: Site, open_tab: OpenTab) -> None:
    notify(site, 40)
    page = open_tab("alice")
    page.set_viewport_size({"width": 1280, "height": 600})
    sides = ["left:0;top:0", "right:0;top:0", "left:300px;top:0", "left:0;bottom:0"]

    for direction, place in product(["ltr", "rtl"], [*sides, "right:0;bottom:0"]):
        page.evaluate(
            """([direction, place]) => {
              document.documentElement.dir = direction
              document.querySelector("notifications-bell").style.cssText = `position:fixed;${place}`
            }""",
            [direction, place],
        )
        expect(items(open_bell(page))).to_have_count(30)

        panel(page).evaluate("(panel) => Promise.all(panel.getAnimations().map((a) => a.finished))")
        box = panel(page).bounding_box()
        assert box
        assert box["x"] >= 8 and box["x"] + box["width"] <= 1280 - 8, (direction, place)
        assert box["y"] >= 8 and box["y"] + box["height"] <= 600 - 8, (direction, place)
        assert box["height"] > 300, (direction, place)
        place_of_bell = bell(page).bounding_box()
        assert place_of_bell
        assert box["x"] < place_of_bell["x"] + place_of_bell["width"], (direction, place)
        assert box["x"] + box["width"] > place_of_bell["x"], (direction, place)
        page.keyboard.press("Escape")
        expect(panel(page)).to_be_hidden()


@pytest.mark.parametrize(("path", "lines"), [("/", 6), ("/notifications/", 12)])
def test_a_long_body_is_cut_off_and_complete_in_its_title(
    site: Site, open_tab: OpenTab, path: str, lines: int
) -> None:
    body = "word " * 999 + "end"
    site.shell(f'notify_accounts(alice, "news", {body!r}); notify_accounts(alice, "news", "Short")')
    page = open_tab("alice", path)
    expect_online(page)
    place = open_bell(page) if path == "/" else page.get_by_role("main")
    bodies = items(place).locator("[data-part=body]")
    expect(place.locator("[data-part=batch]")).to_be_visible()  # no longer the server's list
    expect(bodies).to_have_text(["Short", body])

    shown = bodies.last.evaluate(
        "(e) => e.clientHeight / parseFloat(getComputedStyle(e).lineHeight)"
    )

    assert round(shown) == lines
    expect(bodies.last).to_have_attribute("title", body)
    assert bodies.first.get_attribute("title") is None


def test_the_buttons_of_an_item_cover_none_of_its_text(site: Site, open_tab: OpenTab) -> None:
    site.shell(f'notify_accounts(alice, "news", {"word " * 200!r})')
    row = items(open_bell(open_tab("alice")))

    row.hover()

    icon = row.locator("[data-as=archived] svg").bounding_box()
    body = row.locator("[data-part=body]").bounding_box()
    assert icon and body
    assert icon["y"] >= body["y"] + body["height"]


# --- The page


def test_the_inbox_page_is_live(site: Site, open_tab: OpenTab) -> None:
    notify(site, 2)
    page, other_tab = open_tab("alice", "/notifications/"), open_tab("alice", "/notifications/")
    expect_online(page)
    expect(items(page)).to_have_count(2)

    site.shell('notify_accounts(alice, "news", "The newest")')
    expect(items(page).first).to_contain_text("The newest")
    items(page).first.get_by_role("button", name="Mark as read").click()
    expect(badge(other_tab)).to_have_text("2")
    expect(items(other_tab).first).to_have_attribute("data-state", "read")
    page.get_by_role("main").get_by_role("button", name="Mark all as read").click()

    for tab in (page, other_tab):
        expect_no_unread(tab)
        expect(tab.locator("[data-part=item][data-state=unread]")).to_have_count(0)
        expect(
            tab.get_by_role("main").get_by_role("button", name="Mark all as read")
        ).to_be_hidden()


def test_what_is_read_leaves_the_unread_folder(site: Site, open_tab: OpenTab) -> None:
    notify(site, 35)
    page = open_tab("alice", "/notifications/?unread=1")
    expect_online(page)
    page.get_by_role("button", name="Load more").scroll_into_view_if_needed()
    expect(items(page)).to_have_count(35)

    items(page).first.get_by_role("button", name="Mark as read").click()

    expect(items(page)).to_have_count(34)
    expect(items(page).first).to_contain_text("News 34")
    page.get_by_role("link", name="All", exact=True).click()
    expect(items(page).first).to_contain_text("News 35")
    expect(items(page).first).to_have_attribute("data-state", "read")
