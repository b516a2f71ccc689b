"""The main paths, in engines other than Chromium."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.client import CLIENT, stored_connections
from tests.browser.conftest import Site

from .engine import Engine, wait_until

LogIn = Callable[[str], None]

BADGE = "notifications-bell [data-part=badge]:not([hidden])"
BELL = "notifications-bell [data-part=bell]"
PANEL = "notifications-bell [data-part=panel]"
TOAST = "notifications-toasts [data-part=toast]:not([data-leaving])"


def notify(site: Site, account: str, *bodies: str) -> None:
    site.shell(f'[notify_accounts({account}, "news", body) for body in {bodies}]')


def test_what_is_new_is_announced_counted_and_listed(
    engine: Engine, site: Site, log_in: LogIn
) -> None:
    log_in("alice")

    notify(site, "alice", "First", "Second")

    engine.expect_texts(f"{TOAST} [data-slot=body]", "First", "Second")
    engine.expect_texts(BADGE, "2")
    assert engine.run("return document.title").startswith("(2) ")
    engine.click(BELL)
    engine.expect_texts(f"{PANEL} [data-part=item] [data-slot=body]", "Second", "First")
    engine.click(f"{PANEL} [data-action=mark-all]")
    engine.expect_texts(BADGE)
    engine.expect_texts(TOAST)


def test_tabs_share_one_connection_and_show_the_same(
    engine: Engine, site: Site, log_in: LogIn
) -> None:
    log_in("bob")
    (first,) = engine.tabs
    second = engine.open_tab()
    engine.visit(f"{site.url}/")
    engine.expect_online()
    wait_until(lambda: len(stored_connections(site)) == 1)

    notify(site, "bob", "For both")

    engine.expect_texts(BADGE, "1")
    engine.show(first)
    engine.expect_texts(BADGE, "1")
    assert len(stored_connections(site)) == 1
    engine.close_tab()
    engine.show(second)
    notify(site, "bob", "For the one that is left")
    engine.expect_texts(BADGE, "2")


def test_logging_out_in_one_tab_ends_the_other(engine: Engine, site: Site, log_in: LogIn) -> None:
    log_in("carol")
    (first,) = engine.tabs
    engine.open_tab()
    engine.visit(f"{site.url}/")
    engine.expect_online()

    engine.click("form[action$='/logout/'] button")

    engine.show(first)
    wait_until(lambda: engine.run(f"return {CLIENT}.status") == "logged_out")


def test_the_link_of_an_item_in_the_open_list_can_be_clicked(
    engine: Engine, site: Site, log_in: LogIn
) -> None:
    log_in("carol")
    site.shell('notify_accounts(carol, "news", "Leads to the inbox", url="/notifications/")')
    engine.click(BELL)
    engine.expect_texts(
        f"{PANEL} [data-part=item]:first-child [data-slot=body]", "Leads to the inbox"
    )

    engine.click(f"{PANEL} [data-part=item]:first-child [data-part=link]")

    wait_until(lambda: engine.run("return location.pathname") == "/notifications/")
    engine.expect_texts("[data-part=item]:first-child [data-slot=body]", "Leads to the inbox")
    engine.expect_texts(BADGE)
