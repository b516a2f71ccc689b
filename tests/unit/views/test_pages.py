"""The inbox page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from notifications.lifecycle import retraction

from .requests import ITEMS

pytestmark = pytest.mark.django_db


def test_the_page_shows_own_items_as_text(
    browser: Client, alice: User, bob: User, notify: Any
) -> None:
    notify(alice, "<script>alert(1)</script>")
    notify(bob, "not hers")

    page = browser.get("/notifications/").content.decode()

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "not hers" not in page


def test_an_invalid_page_redirects_to_the_first(browser: Client) -> None:
    answer = browser.get("/notifications/", {"before": "invalid"})

    assert (answer.status_code, answer["Location"]) == (302, "/notifications/")


def test_removed_items_are_on_no_page(browser: Client, alice: User, notify: Any) -> None:
    notify(alice, "Short-lived", expires_at=timezone.now())
    retraction.expire("default")

    assert "Short-lived" not in browser.get("/notifications/").content.decode()
    assert browser.get(ITEMS).json()["items"] == []


@pytest.mark.parametrize(
    ("query", "is_offered"), [("", True), ("unread=1", True), ("archived=1", False)]
)
def test_mark_all_is_offered_in_folders_with_unread_items(
    browser: Client, alice: User, notify: Any, query: str, is_offered: bool
) -> None:
    notify(alice, "New")

    page = browser.get(f"/notifications/?{query}").content.decode()

    assert ('<form data-action="mark-all"' in page) == is_offered
