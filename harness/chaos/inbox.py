"""An account's HTTP requests: its list, page by page, and its marks."""

from __future__ import annotations

import http.client
import json
from typing import Any, Final
from urllib.parse import urlencode

from harness.accounts import session_key
from harness.chaos.tab import Frame
from harness.session import send_request

TIMEOUT_SECONDS: Final = 5.0
PAGE_SIZE: Final = 100


class RequestFailed(Exception):
    """The server was down, or responded with an error."""


def read_list(port: int, account: int) -> tuple[list[Frame], Frame]:
    """Return all items of the list, and its first page. Raises RequestFailed."""
    items: list[Frame] = []
    first: Frame = {}
    query = {"limit": str(PAGE_SIZE)}
    while True:
        page = _request(port, account, "GET", f"/notifications/items/?{urlencode(query)}")
        first = first or page
        items += page["items"]
        if page["next"] is None:
            return items, first
        query["before"] = page["next"]


def read_latest(port: int, account: int) -> Frame:
    """Return the list's position and counts. Raises RequestFailed."""
    latest: Frame = _request(port, account, "GET", "/notifications/items/?limit=1")
    return latest


def mark(port: int, account: int, content: Frame) -> Any:
    """Return the response to a mark. After RequestFailed, the mark may have been saved or not."""
    return _request(port, account, "POST", "/notifications/mark/", content)


def _request(port: int, account: int, method: str, path: str, content: Any = None) -> Any:
    try:
        status, body = send_request(
            port, session_key(account), method, path, content, timeout=TIMEOUT_SECONDS
        )
    except (OSError, http.client.HTTPException) as error:
        raise RequestFailed(str(error)) from error
    if status != 200:
        raise RequestFailed(f"{status}: {body[:200]!r}")
    return json.loads(body)
