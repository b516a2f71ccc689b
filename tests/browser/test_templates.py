"""A site's own templates, which the script fills in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

from .conftest import Problems
from .elements import expect_online, items, open_bell, panel, toasts
from .looks import THEMES
from .site import Site, running_site

TOAST = '<div data-part="toast"><a data-slot="link"><b data-slot="body"></b></a></div>'


def test_a_sites_own_templates_replace_ours(
    tmp_path: Path, log_in: Callable[..., BrowserContext], problems: Problems
) -> None:
    problems.expect(
        "ERR_CONNECTION_RE(FUSED|SET)|Connection closed before"
    )  # when the site has stopped
    own = tmp_path / "templates/notifications"
    own.mkdir(parents=True)
    item = THEMES.rpartition("```django\n")[2].partition("```")[0]
    (own / "_item.html").write_text(item)
    (own / "_toast.html").write_text(TOAST)
    with running_site(tmp_path, SITE_TEMPLATES=str(own.parent)) as site:
        page = log_in("alice", site).new_page()
        page.goto("/")
        expect_online(page)
        site.shell('notify_accounts(alice, "paid", "Order 1 <is> paid", url="/orders/1/")')

        expect(toasts(page).locator("b")).to_have_text("Order 1 <is> paid")
        row = items(open_bell(page))
        expect(row.locator("strong")).to_have_text("Order 1 <is> paid")
        expect(row.locator("[data-part=dot]")).to_be_visible()
        expect(row.get_by_role("link")).to_have_attribute("href", "/orders/1/")
        expect(panel(page).locator("[data-part=title]")).to_be_visible()  # ours, as before
        row.get_by_role("button", name="Archive").click()
        expect(row).to_have_count(0)

        page.goto("/notifications/?archived=1")
        row = items(page)
        expect(row.locator("strong")).to_have_text("Order 1 <is> paid")
        expect(row.locator("[data-part=dot]")).to_be_hidden()


def test_the_weakest_rule_of_the_site_wins_over_ours(
    site: Site, open_tab: Callable[..., Page]
) -> None:
    page = open_tab("alice")
    weak = {"body": ":where(*) { color: rgb(1, 2, 3) }", "content_type": "text/css"}
    page.route("**/site.css", lambda route: route.fulfill(**weak))  # which comes before ours
    page.reload()
    expect_online(page)
    site.shell('broadcast("works", "Tonight we move", level="warning")')
    open_bell(page)

    # An element of each of our style sheets that has a colour of its own.
    for part in ("toast", "about", "banner"):
        expect(page.locator(f"[data-part={part}]")).to_have_css("color", "rgb(1, 2, 3)")


def test_an_element_that_a_site_defined_itself_is_left_alone(
    site: Site, open_tab: Callable[..., Page]
) -> None:
    page = open_tab("alice")
    page.context.add_init_script(
        "customElements.define('notifications-bell', class extends HTMLElement {})"
    )

    page.reload()

    site.shell('notify_accounts(alice, "news", "One")')
    expect(toasts(page)).to_have_count(1)
    expect(page.get_by_role("link", name="Notifications").nth(1)).to_be_visible()
