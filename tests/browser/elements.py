"""Where things are on the pages."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from .site import Site


def notify(site: Site, count: int) -> None:
    """Send alice so many notifications, the newest last."""
    site.shell(f'for n in range(1, {count} + 1): notify_accounts(alice, "news", f"News {{n}}")')


def bell(page: Page) -> Locator:
    return page.get_by_role("button", name="Notifications")


def badge(page: Page) -> Locator:
    return page.locator("notifications-bell [data-part=badge]")


def panel(page: Page) -> Locator:
    return page.get_by_role("dialog", name="Notifications")


def toasts(page: Page) -> Locator:
    return page.locator("notifications-toasts [data-part=toast]:not([data-leaving])")


def close_toasts(page: Page) -> None:
    while toasts(page).count():
        toasts(page).last.locator("[data-action=close]").click()


def items(place: Page | Locator) -> Locator:
    return place.locator("[data-part=item]")


def open_bell(page: Page) -> Locator:
    bell(page).click()
    expect(panel(page)).to_be_visible()
    return panel(page)


def expect_no_unread(page: Page) -> None:
    expect(badge(page)).to_be_hidden()


def expect_online(page: Page, timeout: float = 30_000) -> None:
    expect(page.locator("notifications-bell")).to_have_attribute(
        "data-status", "online", timeout=timeout
    )


def expect_back_online(page: Page) -> None:
    """Wait longer: after failures the client waits for up to 30 seconds before it reconnects."""
    expect_online(page, timeout=60_000)
