"""
A real Chromium on the demo site in a real server process.

A test that changes something on the site has one of its own, with the demo's accounts
and orders; whatever goes wrong in a page (errors, refusals of the content security
policy, answers that failed) fails the test, also when nothing on the page shows it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.demo_data import make_demo_data
from tests.services import (
    SiteServer,
    chromium_executable,
    free_port,
    manage,
    postgres_server,
    redis_server,
    site_server,
)

FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
PASSWORD = "demo"
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.browser.settings"}

expect.set_options(timeout=15_000)  # ms; several test runs may share the machine


class Site:
    """The demo site in one or more server processes, and what runs beside them."""

    def __init__(self, env: dict[str, str], *servers: SiteServer) -> None:
        self.env = env
        self.servers = servers

    @property
    def server(self) -> SiteServer:
        return self.servers[0]

    @property
    def url(self) -> str:
        return self.server.url

    def shell(self, code: str) -> str:
        """Run code in another process: `manage.py shell` beside the server."""
        return manage("shell", "--no-imports", "-c", f"{SHELL}{code}", env=self.env)


SHELL = """
from django.contrib.auth import get_user_model
from notifications import broadcast, notify_accounts
from notifications.models import Broadcast, Notification
from notifications.lifecycle import numbering
alice, bob, carol = (get_user_model().objects.get(username=n) for n in ("alice", "bob", "carol"))
"""


class Problems:
    """What went wrong in the pages of a test, apart from what the test expects."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.expected: list[str] = []

    def expect(self, pattern: str) -> None:
        self.expected.append(pattern)

    def watch(self, context: BrowserContext) -> None:
        context.on(
            "console",
            lambda message: message.type in {"error", "warning"} and self.add(message.text),
        )
        context.on("weberror", lambda error: self.add(str(error.error)))
        context.on(
            "response",
            lambda answer: answer.status >= 400 and self.add(f"{answer.status} {answer.url}"),
        )

    def add(self, problem: str) -> None:
        self.found.append(problem)

    @property
    def unexpected(self) -> list[str]:
        return [
            problem
            for problem in self.found
            if not any(re.search(pattern, problem) for pattern in self.expected)
        ]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_executable(), args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def running_site(directory: Path, **more: str) -> Iterator[Site]:
    """One process, SQLite and the in-memory layer: what `make run` starts."""
    env = {**SETTINGS, "DATABASE_URL": f"sqlite:///{directory}/site.sqlite3", **more}
    make_demo_data(env)
    with site_server(free_port(), env) as server:
        yield Site(env, server)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as site:
        yield site


@pytest.fixture(scope="package")
def quiet_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests that leave nothing behind on it: to start one takes half a second."""
    with running_site(tmp_path_factory.mktemp("quiet")) as site:
        yield site


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Site]:
    """Two processes with PostgreSQL and Redis."""
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        redis = stack.enter_context(redis_server())
        env = {
            **SETTINGS,
            "DATABASE_URL": postgres.create_database("site"),
            "REDIS_URL": redis.url,
        }
        make_demo_data(env)
        servers = [stack.enter_context(site_server(free_port(), env)) for _ in range(2)]
        yield Site(env, *servers)


@pytest.fixture
def problems() -> Iterator[Problems]:
    problems = Problems()
    yield problems
    assert problems.unexpected == []


@pytest.fixture
def new_context(browser: Browser, problems: Problems) -> Iterator[Callable[..., BrowserContext]]:
    """Open browsers that share nothing with each other."""
    with ExitStack() as stack:

        def open_context(**options: Any) -> BrowserContext:
            context = browser.new_context(**options)
            stack.callback(context.close)
            problems.watch(context)
            return context

        yield open_context


@pytest.fixture
def log_in(
    new_context: Callable[..., BrowserContext], request: pytest.FixtureRequest
) -> Callable[..., BrowserContext]:
    """Log an account in, in a browser of its own; the account's other tabs share it."""

    def log_in(name: str, site: Site, **options: Any) -> BrowserContext:
        context = new_context(base_url=site.url, **options)
        log_in_there(context, name)
        return context

    return log_in


def log_in_there(context: BrowserContext, name: str) -> None:
    """Send the log-in form, without a page of the browser's: that takes half a second less."""
    context.request.get("/login/")
    token = next(c["value"] for c in context.cookies() if c["name"] == "csrftoken")
    answer = context.request.post(
        "/login/",
        form={"username": name, "password": PASSWORD, "csrfmiddlewaretoken": token},
        max_redirects=0,
    )
    assert answer.status == 302, answer.text()


@pytest.fixture
def open_tab(site: Site, log_in: Callable[..., BrowserContext]) -> Callable[..., Page]:
    """Open another tab of an account on the site, which outlives it."""
    contexts: dict[str, BrowserContext] = {}

    def open_tab(name: str, path: str = "/") -> Page:
        context = contexts.get(name) or contexts.setdefault(name, log_in(name, site))
        page = context.new_page()
        page.goto(path)
        return page

    return open_tab


@pytest.fixture(scope="session", autouse=True)
def _sync_playwright_keeps_a_loop() -> None:
    # Django takes Playwright's loop for that of a server.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
