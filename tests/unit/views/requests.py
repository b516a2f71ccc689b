"""The URLs of the inbox, and helpers for requests."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

ITEMS, CHANGES, MARK = ("/notifications/items/", "/notifications/changes/", "/notifications/mark/")


def post(browser: Client, body: Any, **options: Any) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return browser.post(MARK, text, content_type="application/json", **options)


def scope(browser: Client) -> str:
    found: str = browser.get(ITEMS).json()["scope"]
    return found
