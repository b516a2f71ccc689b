"""The URLs of the admin pages, and helpers to post to them and read them."""

from __future__ import annotations

import re
from typing import Any

COMPOSE = "/admin/site_notifications/broadcast/add/"
BROADCASTS = "/admin/site_notifications/broadcast/"
CONNECTIONS = "/admin/site_notifications/connection/"
NOTIFICATIONS = "/admin/site_notifications/notification/"
USERS = "/admin/auth/user/"
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/139.0.0.0 Safari/537.36"
)


def composed(**fields: str) -> dict[str, str]:
    return {
        "audience": "everyone",
        "type": "announcement",
        "body": "Back in five minutes",
        "level": "warning",
        "url": "",
        "expires_at_0": "",
        "expires_at_1": "",
    } | fields


def text(answer: Any) -> str:
    """Return the text of a page, in one line, without its tags."""
    page = re.sub(r"</?bdi\b[^>]*>", "", answer.content.decode())  # inside a sentence
    shown = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.S)
    return " ".join(shown.split())


def row(page: str) -> dict[str, str]:
    """Return the only row of a list, by column."""
    cells = re.findall(r'<t[dh] class="(?:[^"]*)field-(\w+)[^"]*">(.*?)</t[dh]>', page, re.S)
    return {name: " ".join(re.sub("<[^>]+>", "", shown).split()) for name, shown in cells}
