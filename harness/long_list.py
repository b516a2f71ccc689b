"""The inbox page with thousands of items, and the steps that are timed on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from playwright.sync_api import Page, Route

from harness.browser import await_online
from harness.tasks import wait_for_frames

LOAD_ALL: Final = """async () => {
  const client = globalThis[Symbol.for("notifications.client")]
  await client.load()
  while (client.hasOlder()) await client.loadOlder()
  return client.items().length
}"""
# Counted by batch: counting each row would be a long task of its own.
ROWS: Final = """[...document.querySelector("[data-part=list]").children]
  .reduce((count, batch) => count + batch.childElementCount, 0)"""
# Found in advance: finding them among so many would be a long task of its own.
REMEMBER_ENDS: Final = """() => {
  const inbox = document.querySelector("notifications-inbox[data-part=page]")
  const items = inbox.querySelectorAll("[data-part=item]")
  Object.assign(window, {
    first: items[0],
    last: items[items.length - 1],
    markAll: inbox.querySelector("[data-action=mark-all] button")
  })
}"""
IS_LAST_IN_VIEW: Final = """() => {
  const { top, bottom } = last.getBoundingClientRect()
  return bottom > top && bottom <= innerHeight
}"""


def fill_inbox_code(count: int) -> str:
    """Return code for the site's shell that gives alice `count` unread items."""
    return (
        "from django.contrib.auth import get_user_model\n"
        "from django.db import transaction\n"
        "from notifications.lifecycle import numbering\n"
        "from notifications.models import Notification\n"
        "alice = get_user_model().objects.get(username='alice')\n"
        "with transaction.atomic():\n"
        f"    for n in range({count}):\n"
        "        Notification.objects.insert([alice.pk], type='x', body=f'News {n}')\n"
        "numbering.number_and_publish([alice.pk], 'default')"
    )


def load_all(page: Page) -> None:
    await_online(page)
    page.route("**/notifications/items/**", _load_more_at_once)
    count = page.evaluate(LOAD_ALL)
    page.wait_for_function(f"() => {ROWS} === {count}", timeout=60_000)


def remember_ends(page: Page) -> None:
    page.locator("[data-part=item]").first.hover()
    page.evaluate(REMEMBER_ENDS)


def archive_first(page: Page) -> None:
    page.evaluate("() => first.querySelector('[data-as=archived]').click()")
    page.wait_for_function("() => !first.isConnected")


def scroll(page: Page) -> None:
    for _ in range(10):
        page.mouse.wheel(0, 2000)
        wait_for_frames(page)


def jump_to_end(page: Page) -> None:
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function(IS_LAST_IN_VIEW)


def mark_all(page: Page) -> None:
    page.evaluate("() => markAll.click()")
    page.wait_for_function("() => last.dataset.state === 'read'")


STEPS: Final[dict[str, Callable[[Page], None]]] = {
    "archive the first": archive_first,
    "scroll by 20,000 pixels": scroll,
    "jump to the end": jump_to_end,
    "mark all as read": mark_all,
}


def _load_more_at_once(route: Route) -> None:
    # The most that the server allows.
    url = route.request.url
    route.continue_(url=f"{url}{'&' if '?' in url else '?'}limit=100")
