"""Helpers to read an inbox."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User

from notifications.audiences import Recipient
from notifications.inbox.pages import read_page


def recipient_of(account: User) -> Recipient:
    return Recipient.of(User.objects.get(pk=account.pk))


def ids(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["id"] for frame in frames]


def pages(recipient: Recipient, limit: int, **options: Any) -> list[list[str]]:
    """Return the ids of all pages, read to the end."""
    found = []
    before = None
    while True:
        page = read_page(recipient, before, limit=limit, **options)
        found.append(ids(page.items))
        assert len(found) < 100, "endless pages"
        before = page.next
        if before is None:
            return found
