"""Start Chromium for tests and benchmarks, and log accounts in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from harness.demo_data import PUBLIC_PASSWORD
from harness.services import chromium_executable

FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    # Playwright's own list plus the last line. Chromium uses only the last --disable-features, so
    # the whole list is repeated here. The last line saves a third of the time to open a page: each
    # window would load two hidden pages for its address bar.
    "--disable-features="
    "AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,"
    "HttpsFirstBalancedModeAutoEnable,LensOverlay,MediaRouter,PaintHolding,"
    "ThirdPartyStoragePartitioning,AvoidCorsURLLoaderRestartOnRedirect,OptimizationHints,"
    "NetworkTimeServiceQuerying,AimEnabled,PreconnectToSearch,"
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_executable(), args=FLAGS)
        yield browser
        browser.close()


def log_in(context: BrowserContext, name: str, password: str = PUBLIC_PASSWORD) -> None:
    """Post the site's log-in form in this context, without opening a page."""
    context.request.get("/login/")
    token = next(c["value"] for c in context.cookies() if c["name"] == "csrftoken")
    response = context.request.post(
        "/login/",
        form={"username": name, "password": password, "csrfmiddlewaretoken": token},
        max_redirects=0,
    )
    assert response.status == 302, response.text()


def await_online(page: Page) -> None:
    """Wait until the page's client is connected and up to date."""
    page.locator("notifications-bell[data-status=online]").wait_for()
