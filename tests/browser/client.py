"""The page's client, asked and waited for from here."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

from playwright.sync_api import Page

from .conftest import Site

CLIENT = "globalThis[Symbol.for('notifications.client')]"


def status(page: Page) -> str:
    return str(page.evaluate(f"() => {CLIENT}.status"))


def expect_status(page: Page, wanted: str) -> None:
    page.wait_for_function(f"(wanted) => {CLIENT}?.status === wanted", arg=wanted)


def wait_until(page: Page, condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for what the page sends, which reaches this process with its other events."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        page.evaluate("() => 0")


def connections(site: Site) -> list[str]:
    """The ids of the sockets in the server's registry, which it writes once a second."""
    path = site.env["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=20)) as database:
        return [row[0] for row in database.execute("SELECT id FROM site_notifications_connection")]


def expect_sockets(site: Site, page: Page, count: int, seconds: float = 15) -> None:
    wait_until(page, lambda: len(connections(site)) == count, seconds)


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
