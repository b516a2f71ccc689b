"""Chromium as tests and benchmarks start it, and who is logged in there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from harness.services import chromium_executable

FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    # In place of Playwright's list, which has all but the last line: of two, Chromium takes the
    # later one. Without that line each window has two hidden pages for its address bar, which
    # take a third of the time until a page is there.
    "--disable-features="
    "AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,"
    "HttpsFirstBalancedModeAutoEnable,LensOverlay,MediaRouter,PaintHolding,"
    "ThirdPartyStoragePartitioning,AvoidCorsURLLoaderRestartOnRedirect,OptimizationHints,"
    "NetworkTimeServiceQuerying,AimEnabled,PreconnectToSearch,"
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
]
PASSWORD = "demo"


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_executable(), args=FLAGS)
        yield browser
        browser.close()


def log_in_there(context: BrowserContext, name: str) -> None:
    """Send the log-in form of whatever site that is, without a page of the browser's."""
    context.request.get("/login/")
    token = next(c["value"] for c in context.cookies() if c["name"] == "csrftoken")
    answer = context.request.post(
        "/login/",
        form={"username": name, "password": PASSWORD, "csrfmiddlewaretoken": token},
        max_redirects=0,
    )
    assert answer.status == 302, answer.text()


def await_online(page: Page) -> None:
    """Wait until the page's client is connected and up to date."""
    page.locator("notifications-bell[data-status=online]").wait_for()
