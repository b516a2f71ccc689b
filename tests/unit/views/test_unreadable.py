"""Unreadable requests: our views answer themselves, whatever the site's handlers are."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path

from .requests import CHANGES, ITEMS, MARK

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
PART = b'--x\r\nContent-Disposition: form-data; name="as"\r\n\r\nread\r\n--x--\r\n'
CHARSETS = [
    *("utf-16", "utf-7", "idna", "punycode", "undefined", "hex", "base64", "rot13", "zip"),
    *("unicode_escape", "latin-1", "no-such-charset", "\xff", "utf-8,utf-16", " "),
]


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    raise AssertionError("the site's handler was asked")


handler403 = handler404 = handler400


def handler500(request: HttpRequest) -> HttpResponse:
    raise AssertionError("the site's handler was asked")


urlpatterns = [
    path("notifications/", include("notifications.urls")),
    path("", include("notifications.health")),
]


@pytest.fixture(autouse=True)
def site_with_failing_handlers(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.mark.parametrize("url", [MARK, ITEMS, CHANGES, "/notifications/"])
@pytest.mark.parametrize("content_type", [FORM, MULTIPART + "; boundary=x", "application/json"])
@pytest.mark.parametrize("charset", CHARSETS)
def test_only_utf_8_is_read(url: str, content_type: str, charset: str) -> None:
    browser = Client(enforce_csrf_checks=True)
    answer = browser.generic("POST", url, PART, content_type=f"{content_type}; charset={charset}")

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("The charset of Content-Type must be utf-8, not ")
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("url", [ITEMS, CHANGES, "/notifications/"])
def test_a_query_is_read_as_utf_8_only(browser: Client, url: str) -> None:
    """On WSGI, Django decodes the query by the charset of Content-Type."""
    answer = browser.get(url, {"limit": "3"}, CONTENT_TYPE="text/plain; charset=utf-16")

    assert answer.status_code == 400
    assert "utf-8" in answer.json()["error"]


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        (MULTIPART, "boundary"),
        (f"{MULTIPART}; boundary=", "boundary"),
        (f"{MULTIPART}; boundary=\xff", "ASCII"),
        (f"{MULTIPART}; boundary={'x' * 300}", "boundary"),
        (f'{MULTIPART}; boundary="a b "', "boundary"),
    ],
)
def test_a_form_without_a_valid_boundary_is_refused(content_type: str, reason: str) -> None:
    answer = Client().generic("POST", MARK, PART, content_type=content_type)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.startswith("The form can't be read: ") and reason in error


def test_a_form_with_too_many_fields_is_refused(browser: Client) -> None:
    fields = "&".join(f"a{n}=1" for n in range(1001))
    answer = browser.generic("POST", MARK, fields, content_type=FORM)

    assert answer.status_code == 400
    assert "number of GET/POST parameters" in answer.json()["error"]


async def test_under_asgi_it_is_the_same() -> None:
    answer = await AsyncClient().generic(
        "POST", MARK, "a=b", content_type=f"{FORM}; charset=utf-16"
    )

    assert answer.status_code == 400
    assert "must be utf-8, not 'utf-16'" in answer.json()["error"]


@pytest.mark.parametrize("url", ["/healthz", "/readyz"])
def test_health_views_read_no_form(url: str) -> None:
    browser = Client(enforce_csrf_checks=True)
    answer = browser.generic("POST", url, "a=b", content_type=f"{FORM}; charset=utf-16")

    assert answer.status_code == 405


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"'])
def test_utf_8_may_be_named(browser: Client, charset: str) -> None:
    answer = browser.generic(
        "POST", MARK, "as=read&ids=n1", content_type=f"{FORM}; charset={charset}"
    )

    assert answer.status_code == 302


def test_changes_still_need_the_token(alice: User, settings: Any) -> None:
    """Also where the site has no middleware for it."""
    settings.ROOT_URLCONF = "notify_site.urls"
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "csrf" not in name.lower()]
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    assert browser.post(MARK, {"as": "read", "ids": "n1"}).status_code == 403

    token = browser.get("/notifications/").cookies["csrftoken"].value
    form = {"as": "read", "ids": "n1", "csrfmiddlewaretoken": token}
    assert browser.post(MARK, form).status_code == 302
