"""Catching up over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from notifications import views

from .requests import CHANGES, ITEMS, post, scope

pytestmark = pytest.mark.django_db


def test_changes_are_the_same_as_over_a_connection(
    browser: Client, alice: User, bob: User, notify: Any, send: Any
) -> None:
    known = notify(alice)
    latest = browser.get(ITEMS).json()
    position = {name: latest[name] for name in ("seq", "broadcast_seq", "epoch", "scope")}
    new, news = notify(alice), send()
    notify(bob)
    post(browser, {"ids": [known], "as": "read"})

    answer = browser.get(CHANGES, position).json()

    assert [frame["type"] for frame in answer["frames"]] == ["hello", "state", "news"]
    assert [answer["frames"][n]["id"] for n in (0, 2)] == [new, news]
    assert answer["frames"][1]["ids"] == [known]
    assert (answer["resync"], answer["more"]) == (False, False)
    assert (answer["seq"], answer["broadcast_seq"], answer["unread"]) == (3, 1, 1)


def test_many_changes_are_read_in_parts(
    browser: Client, alice: User, notify: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views.pages, "MAX_PAGE_SIZE", 2)
    sent = [notify(alice) for _ in range(3)]
    position = {"seq": 0, "broadcast_seq": 0, "epoch": 1, "scope": scope(browser)}

    first = browser.get(CHANGES, position).json()
    second = browser.get(CHANGES, {name: first[name] for name in position}).json()

    assert [first["more"], second["more"]] == [True, False]
    # Those of the latest change would be wrong at the position of the first answer.
    assert "unread" not in first and "unread_broadcasts" not in first
    assert "unread" in second
    assert [frame["id"] for frame in first["frames"] + second["frames"]] == sent


def test_a_client_with_another_scope_has_to_reload(
    browser: Client, alice: User, notify: Any
) -> None:
    notify(alice)
    answer = browser.get(CHANGES, {"seq": 0, "broadcast_seq": 0, "epoch": 1, "scope": "x"}).json()

    assert (answer["resync"], answer["frames"], answer["seq"]) == (True, [], 1)
    assert answer["scope"] == scope(browser)


@pytest.mark.parametrize("path", [ITEMS, f"{CHANGES}?seq=0&broadcast_seq=0&epoch=1"])
def test_answers_contain_the_time_of_reading(browser: Client, path: str) -> None:
    before = timezone.now()

    answer = browser.get(path).json()

    assert before <= datetime.fromisoformat(answer["now"]) <= timezone.now()


@pytest.mark.parametrize("name", ["seq", "broadcast_seq", "epoch"])
@pytest.mark.parametrize("value", ["", "-1", "x", "1.0", str(2**63), "9" * 5000, "１"])
def test_a_position_must_consist_of_numbers(browser: Client, name: str, value: str) -> None:
    query = {"seq": "0", "broadcast_seq": "0", "epoch": "1", name: value}

    answer = browser.get(CHANGES, query)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{name} must be a number from 0 to {2**63 - 1}, not")
    assert len(answer.json()["error"]) < 200
