"""One account's way to the site over HTTP: its list, page by page, and its marks."""

from __future__ import annotations

import http.client
import json
from typing import Any, Final
from urllib.parse import urlencode

from harness.accounts import session_key
from harness.chaos.tab import Frame
from harness.session import ask

TIMEOUT: Final = 5.0  # seconds
PAGE: Final = 100  # items


class Unanswered(Exception):
    """The server was away, or answered with an error."""


def read_list(port: int, account: int) -> tuple[list[Frame], Frame]:
    """Return all items of the list, and the head that its first page gave. Raises Unanswered."""
    items: list[Frame] = []
    head: Frame = {}
    query = {"limit": str(PAGE)}
    while True:
        page = _ask(port, account, "GET", f"/notifications/items/?{urlencode(query)}")
        head = head or page
        items += page["items"]
        if page["next"] is None:
            return items, head
        query["before"] = page["next"]


def read_latest(port: int, account: int) -> Frame:
    """Return where the account's list stands, with the counts. Raises Unanswered."""
    head: Frame = _ask(port, account, "GET", "/notifications/items/?limit=1")
    return head


def mark(port: int, account: int, told: Frame) -> Any:
    """Return the answer to a mark. Raises Unanswered: then it may have been taken or not."""
    return _ask(port, account, "POST", "/notifications/mark/", told)


def _ask(port: int, account: int, method: str, path: str, content: Any = None) -> Any:
    try:
        status, body = ask(port, session_key(account), method, path, content, timeout=TIMEOUT)
    except (OSError, http.client.HTTPException) as error:
        raise Unanswered(str(error)) from error
    if status != 200:
        raise Unanswered(f"{status}: {body[:200]!r}")
    return json.loads(body)
