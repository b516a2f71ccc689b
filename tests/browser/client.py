"""Ask the page's client, and wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import Page

from .site import Site

CLIENT = "globalThis[Symbol.for('notifications.client')]"
# What was sent before has been sent when this is answered.
LATER_REQUEST = "() => fetch('/healthz').then(() => null)"


def status(page: Page) -> str:
    return str(page.evaluate(f"() => {CLIENT}.status"))


def expect_status(page: Page, wanted: str) -> None:
    page.wait_for_function(f"(wanted) => {CLIENT}?.status === wanted", arg=wanted)


def wait_until(page: Page, condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition that events of the page bring about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        page.wait_for_timeout(20)  # which handles events meanwhile


def connections(site: Site) -> list[str]:
    """The ids of the accounts' open connections, from the server's memory."""
    return site.shell("from tests.browser.inside import connections; print(*connections())").split()


def expect_connections(site: Site, page: Page, count: int) -> None:
    wait_until(page, lambda: len(connections(site)) == count)


def stored_connections(site: Site) -> list[str]:
    """The ids of the accounts' connections in the database, which follow a moment later."""
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
