"""Access to the views of the inbox: each account, its own rows only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import resolve

from .requests import CHANGES, ITEMS, MARK, post

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", [ITEMS, CHANGES])
def test_a_script_without_a_session_gets_401(client: Client, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.json()) == (401, {"error": "Log in first."})
    assert post(client, {"ids": [], "as": "read"}).status_code == 401


def test_the_page_redirects_a_visitor_to_the_log_in_page(client: Client) -> None:
    answer = client.get("/notifications/")

    assert answer.status_code == 302
    assert answer["Location"] == "/login/?next=/notifications/"


@pytest.mark.parametrize("path", [ITEMS, f"{CHANGES}?seq=0&broadcast_seq=0&epoch=0"])
def test_a_page_of_another_account_gets_401(browser: Client, bob: User, path: str) -> None:
    """In the same browser, alice has logged in after bob, whose page is still open."""
    answer = browser.get(path, headers={"X-Notifications-Account": str(bob.pk)})

    assert answer.status_code == 401
    assert answer.json() == {"error": "Another account has logged in since. Reload the page."}


def test_a_page_of_another_account_marks_nothing(
    browser: Client, alice: User, bob: User, notify: Callable[..., str]
) -> None:
    own = notify(alice)
    everything = {"upto": {"seq": 1, "broadcast_seq": 0}, "as": "read"}

    for body in ({"ids": [own], "as": "read"}, everything):
        answer = post(browser, body, headers={"X-Notifications-Account": str(bob.pk)})
        assert answer.status_code == 401

    assert browser.get(ITEMS).json()["unread"] == 1


def test_a_page_of_the_same_account_is_served(
    browser: Client, alice: User, notify: Callable[..., str]
) -> None:
    own = notify(alice)
    account = {"X-Notifications-Account": str(alice.pk)}

    assert [item["id"] for item in browser.get(ITEMS, headers=account).json()["items"]] == [own]
    assert post(browser, {"ids": [own], "as": "read"}, headers=account).json()["unread"] == 0


def test_a_deactivated_account_gets_401(browser: Client) -> None:
    User.objects.update(is_active=False)

    assert browser.get(ITEMS).status_code == 401


@pytest.mark.parametrize("body", [{"ids": [], "as": "read"}, {"undo": {}}, "not json"])
def test_changes_need_the_csrf_token(alice: User, body: Any) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    assert post(browser, body).status_code == 403
    assert browser.post(MARK, {"as": "read", "ids": "n1"}).status_code == 403

    browser.get("/notifications/")  # the page has the token
    token = browser.cookies["csrftoken"].value
    answer = post(browser, {"ids": [], "as": "read"}, headers={"X-CSRFToken": token})
    assert answer.status_code == 200
    form = {"as": "read", "ids": "n1", "csrfmiddlewaretoken": token}
    assert browser.post(MARK, form).status_code == 302


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete"])
def test_changes_need_a_post(browser: Client, method: str) -> None:
    assert getattr(browser, method)(MARK).status_code == 405


@pytest.mark.parametrize("path", [ITEMS, CHANGES, "/notifications/", "/healthz", "/readyz"])
def test_read_only_views_refuse_a_post(browser: Client, path: str) -> None:
    assert browser.post(path).status_code == 405


@pytest.mark.parametrize("path", [ITEMS, f"{CHANGES}?seq=0&broadcast_seq=0&epoch=1", "/readyz"])
def test_answers_are_not_cached(browser: Client, path: str) -> None:
    answer = browser.get(path)

    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"] and "private" in answer["Cache-Control"]


def test_marking_is_never_part_of_a_longer_transaction() -> None:
    """Even with ATOMIC_REQUESTS: numbers are assigned in short transactions."""
    assert "default" in resolve(MARK).func._non_atomic_requests


@pytest.mark.parametrize("path", [ITEMS, CHANGES, MARK])
def test_views_keep_their_names_in_logs_and_error_reports(path: str) -> None:
    view = resolve(path).func

    assert view.__module__ == "notifications.views"
    assert view.__name__ == path.strip("/").split("/")[-1]
    assert view.__doc__
