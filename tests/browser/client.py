"""The page's client, asked and waited for from here."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import Page

from .site import Site

CLIENT = "globalThis[Symbol.for('notifications.client')]"


def status(page: Page) -> str:
    return str(page.evaluate(f"() => {CLIENT}.status"))


def expect_status(page: Page, wanted: str) -> None:
    page.wait_for_function(f"(wanted) => {CLIENT}?.status === wanted", arg=wanted)


def wait_until(page: Page, condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for what the page sends, which reaches this process with its other events."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        page.wait_for_timeout(20)  # meanwhile events are taken in


def sockets(site: Site) -> list[str]:
    """The ids of these accounts' open sockets, as the server itself knows them."""
    return site.shell("from tests.browser.inside import sockets; print(*sockets())").split()


def expect_sockets(site: Site, page: Page, count: int) -> None:
    wait_until(page, lambda: len(sockets(site)) == count)


def connections(site: Site) -> list[str]:
    """The ids of these accounts' sockets in the registry, which comes a moment later."""
    code = (
        "from notifications.models import Connection\n"
        "ids = Connection.objects.filter(account__in=get_user_model().objects.values('pk'))\n"
        "print(*ids.values_list('pk', flat=True))"
    )
    return site.shell(code).split()


def is_leader(page: Page) -> bool:
    """Whether this page's client has the browser's lock."""
    return bool(
        page.evaluate(
            """async () => {
              const { held } = await navigator.locks.query()
              const others = new Set(held.map(({ clientId }) => clientId))
              const mine = `probe ${Math.random()}`
              const me = await navigator.locks.request(mine, async () =>
                (await navigator.locks.query()).held.find(({ name }) => name === mine).clientId)
              return others.has(me)
            }"""
        )
    )
