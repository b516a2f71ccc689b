"""What the demo site tells browsers when it is deployed: on every page, also one of an error."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.services import SiteServer, free_port, site_server
from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.deployed import Answer, Browser, deploy

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
SECRET_KEY = secrets.token_urlsafe(64)


def protection(answer: Answer) -> dict[str, Any]:
    told = {name: answer.headers[name] for name in HEADERS}
    policy = answer.headers["Content-Security-Policy"] or ""
    return {**told, "Content-Security-Policy": sorted(policy.split("; "))}


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
def test_every_page_protects_whoever_reads_it(browser: Browser, name: str | None) -> None:
    if name:
        browser.log_in(name)

    for page in PAGES:
        answer = browser.ask(page)
        assert answer.status in ((200, 302) if name else (200, 302, 401)), page
        assert protection(answer) == HEADERS, page


def test_a_page_over_plain_http_leads_to_https_only(browser: Browser) -> None:
    answer = browser.ask("/notifications/?unread=1", scheme="http")

    assert (answer.status, answer.text) == (301, "")
    assert answer.headers["Location"] == "https://127.0.0.1/notifications/?unread=1"
    assert protection(answer)["Content-Security-Policy"] == POLICY


def test_cookies_go_over_https_and_stay_on_the_site(browser: Browser) -> None:
    browser.log_in("alice").send("/", "/language/", language="en")
    browser.send("/", "/orders/1/pay/")  # says so in a message

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


def fail(browser: Browser, database: Path) -> Answer:
    """Ask for a page of a table that is not there for a moment."""
    execute(database, "ALTER TABLE shop_order RENAME TO elsewhere")
    try:
        return browser.ask("/?q=what+was+asked")
    finally:
        execute(database, "ALTER TABLE elsewhere RENAME TO shop_order")


def test_an_error_is_a_page_of_the_sites_own_that_tells_nothing(
    browser: Browser, database: Path, server: SiteServer
) -> None:
    browser.log_in("alice")
    execute(database, "UPDATE auth_user SET is_staff = 1 WHERE username = 'alice'")
    errors = [
        (400, "Bad request", browser.ask("/", host="evil.example")),
        (403, "Please try again", browser.ask("/notifications/mark/", {"as": "read"})),
        (403, "Not allowed", browser.ask("/admin/site_notifications/broadcast/add/")),
        (404, "Page not found", browser.ask("/nowhere/?q=what+was+asked")),
        (500, "Something went wrong", fail(browser, database)),
    ]

    told = [SECRET_KEY, str(database), "Traceback", "Exception", "SELECT", "elsewhere", "evil"]
    told += ["what was asked", "what+was+asked", browser.cookies["sessionid"].value]
    for status, title, answer in errors:
        assert answer.status == status
        assert f"<h1>{title}</h1>" in answer.text
        assert protection(answer) == HEADERS, title
        assert [text for text in told if text in str(answer)] == [], title
    assert browser.ask("/").status == 200
    assert "Traceback" in server.output()  # for who runs the site
