"""The security headers of the deployed demo site, on every page, error pages included."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.services import ServerName, SiteServer, free_port, site_server
from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.deployed import Browser, Response, deploy

POLICY = [
    "base-uri 'none'",
    "connect-src 'self'",
    "default-src 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "img-src 'self' data:",
    "script-src 'self'",
    "style-src 'self'",
]
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
SECRET_KEY = secrets.token_urlsafe(64)


def protection(response: Response) -> dict[str, Any]:
    headers = {name: response.headers[name] for name in HEADERS}
    policy = response.headers["Content-Security-Policy"] or ""
    return {**headers, "Content-Security-Policy": sorted(policy.split("; "))}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deployed") / "site.sqlite3"


@pytest.fixture(scope="module")
def server(database: Path) -> Iterator[SiteServer]:
    env = deploy(
        database.parent,
        {"DATABASE_URL": f"sqlite:///{database}", "DJANGO_SECRET_KEY": SECRET_KEY},
    )
    with site_server(free_port(), env) as server:
        yield server


@pytest.fixture
def browser(server: SiteServer) -> Browser:
    return Browser(server.port)


PAGES = ["/", "/orders/1/", "/notifications/", "/notifications/items/", "/healthz", "/login/"]


@pytest.mark.parametrize("name", [None, "alice"])
def test_every_page_has_all_security_headers(browser: Browser, name: str | None) -> None:
    if name:
        browser.log_in(name)

    for page in PAGES:
        response = browser.request(page)
        assert response.status in ((200, 302) if name else (200, 302, 401)), page
        assert protection(response) == HEADERS, page


def test_plain_http_redirects_to_https(browser: Browser) -> None:
    response = browser.request("/notifications/?unread=1", scheme="http")

    assert (response.status, response.text) == (301, "")
    assert response.headers["Location"] == "https://127.0.0.1/notifications/?unread=1"
    assert protection(response)["Content-Security-Policy"] == POLICY


def test_cookies_are_secure_and_limited_to_the_site(browser: Browser) -> None:
    browser.log_in("alice").submit("/", "/language/", language="en")
    browser.submit("/", "/orders/1/pay/")  # which sets a message cookie

    assert {"sessionid", "csrftoken", "django_language", "messages"} <= set(browser.cookies)
    for name, cookie in browser.cookies.items():
        assert cookie["secure"], name
        assert cookie["path"] == "/" and not cookie["domain"]
    for name in ("sessionid", "csrftoken"):
        assert browser.cookies[name]["samesite"] == "Lax"
    assert browser.cookies["sessionid"]["httponly"]


def execute(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database, timeout=TIMEOUT_SECONDS)) as connection, connection:
        connection.execute(statement)


def fail(browser: Browser, database: Path) -> Response:
    """Request a page while its table is missing."""
    execute(database, "ALTER TABLE shop_order RENAME TO elsewhere")
    try:
        return browser.request("/?q=what+was+asked")
    finally:
        execute(database, "ALTER TABLE elsewhere RENAME TO shop_order")


def test_error_pages_are_the_sites_own_and_reveal_nothing(
    browser: Browser, database: Path, server: SiteServer
) -> None:
    browser.log_in("alice")
    execute(database, "UPDATE auth_user SET is_staff = 1 WHERE username = 'alice'")
    errors = [
        (400, "Bad request", browser.request("/", host="evil.example")),
        (403, "Please try again", browser.request("/notifications/mark/", {"as": "read"})),
        (403, "Please try again", browser.request("/language/", {"language": "en"})),
        (403, "Not allowed", browser.request("/admin/site_notifications/broadcast/add/")),
        (404, "Page not found", browser.request("/nowhere/?q=what+was+asked")),
        (500, "Something went wrong", fail(browser, database)),
    ]

    private = [SECRET_KEY, str(database), "Traceback", "Exception", "SELECT", "elsewhere", "evil"]
    private += ["alice", "csrfmiddlewaretoken", "notifications-config"]
    private += ["what was asked", "what+was+asked", browser.cookies["sessionid"].value]
    for status, title, response in errors:
        assert response.status == status
        assert f"<h1>{title}</h1>" in response.text
        assert protection(response) == HEADERS, title
        assert {"no-store", "private"} <= set(response.headers["Cache-Control"].split(", ")), title
        assert [text for text in private if text in str(response)] == [], title
    assert browser.request("/").status == 200
    assert "Traceback" in server.output()  # operators can read it


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_a_bad_request_takes_one_line_of_the_log(server: SiteServer, kind: ServerName) -> None:
    form, multipart = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
    types = [
        *(f"{form}; charset={name}" for name in ("utf-16", "hex", "no-such-charset")),
        *(f"{multipart}; charset={name}" for name in ("rot13", "undefined")),
        f"{form}; charset*=undefined''%ff",
    ]
    with site_server(free_port(), server.env or {}, kind) as other:
        browser = Browser(other.port)
        for path in ("/login/", "/nowhere/", "/language/", "/notifications/mark/", "/healthz"):
            for content_type in types:
                body = PART if "multipart" in content_type else b"a=b"
                answer = browser.send("POST", path, body, content_type)
                assert answer.status in (400, 403, 404, 405), (path, content_type)
                assert protection(answer) == HEADERS, (path, content_type)
        output = other.output()
    lines = [line for line in output.splitlines() if "WARNING" in line or "ERROR" in line]
    assert "Traceback" not in output
    assert len(lines) == 5 * len(types), output
