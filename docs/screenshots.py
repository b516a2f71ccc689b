"""
The pictures in README and docs, taken from the running demo: `make screenshots`.

Starts the site on a temporary database, lets alice pay two orders and the
operator broadcast, and photographs what she sees, light and dark.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import FLAGS
from tests.services import chromium_executable, free_port, manage, site_server

IMAGES = Path(__file__).resolve().parent / "images"


def main() -> None:
    with TemporaryDirectory() as directory:
        env = {"DATABASE_URL": f"sqlite:///{directory}/site.sqlite3"}
        manage("migrate", "-v", "0", env=env)
        manage("demo_data", env=env)
        with site_server(free_port(), env) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium_executable(), args=FLAGS)
            photograph(browser, site.url, env)


def photograph(browser: Browser, site: str, env: dict[str, str]) -> None:
    broadcast = 'from notifications import broadcast; broadcast("maintenance", "{}", level="{}")'
    manage(
        "shell",
        "-c",
        broadcast.format("Tonight from 22:00 we move to faster machines", "warning"),
        env=env,
    )
    page = log_in(browser, site, "alice", color_scheme="light")
    for _ in range(2):
        page.get_by_role("button", name="Pay").first.click()
    expect(page.locator("notifications-toasts [data-part=toast]").first).to_be_visible()
    page.screenshot(path=IMAGES / "toast.png")
    page.locator("notifications-bell [data-part=bell]").click()
    expect(page.locator("notifications-bell [data-part=item]").first).to_be_visible()
    page.screenshot(path=IMAGES / "inbox.png")
    dark = log_in(browser, site, "alice", color_scheme="dark")
    dark.goto(f"{site}/notifications/")
    dark.screenshot(path=IMAGES / "inbox-page-dark.png")
    admin = log_in(browser, site, "operator", color_scheme="light")
    admin.set_viewport_size({"width": 1280, "height": 640})
    admin.goto(f"{site}/admin/notifications/broadcast/")
    admin.screenshot(path=IMAGES / "admin-broadcasts.png")


def log_in(browser: Browser, site: str, username: str, color_scheme: str) -> Page:
    page = browser.new_page(
        color_scheme=color_scheme,  # type: ignore[arg-type]
        viewport={"width": 1000, "height": 640},
        reduced_motion="reduce",
    )
    page.goto(f"{site}/login/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    return page


if __name__ == "__main__":
    main()
