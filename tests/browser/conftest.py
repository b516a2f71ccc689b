"""
A real Chromium on the demo site in a real server process.

All tests of a process share one site, but each test has the demo's accounts and orders to
itself. A test that changes the site, or needs another one, is marked `@pytest.mark.own_site`.
Anything that goes wrong in a page (errors, violations of the content security policy, failed
requests) fails the test, even if nothing on the page shows it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from harness.browser import chromium
from harness.demo_data import make_demo_data
from harness.services import (
    free_port,
    postgres_server,
    redis_server,
    site_server,
)

from .site import Site, running_site, settings_of

expect.set_options(timeout=30_000)  # ms; several test runs may share the machine


class Problems:
    """What went wrong in the pages of a test, except for what the test expects."""

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
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all tests of this process: starting one takes longer than most tests."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """The shared site with new accounts, or the test's own site if it is marked so."""
    if mark := request.node.get_closest_marker("own_site"):
        directory = request.getfixturevalue("tmp_path")
        with running_site(directory, **mark.kwargs) as site:
            yield site
    else:
        site = request.getfixturevalue("shared_site")
        site.begin_anew()
        yield site


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Site]:
    """Two processes with PostgreSQL and Redis."""
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        redis = stack.enter_context(redis_server())
        env = settings_of(postgres.create_database("site"), REDIS_URL=redis.url)
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
    new_context: Callable[..., BrowserContext],
) -> Callable[..., BrowserContext]:
    """Log an account in, in a browser of its own."""

    def log_in(name: str, site: Site, **options: Any) -> BrowserContext:
        context = new_context(base_url=site.url, **options)
        log_in_as(context, name, site)
        return context

    return log_in


def log_in_as(context: BrowserContext, name: str, site: Site) -> None:
    """Log in without the form, for tests that are not about logging in."""
    cookie = {"name": "sessionid", "value": site.log_in(name), "url": site.url}
    context.add_cookies([cookie])  # type: ignore[list-item]


@pytest.fixture
def open_tab(site: Site, log_in: Callable[..., BrowserContext]) -> Callable[..., Page]:
    """Open another tab of an account on the site; all tabs of an account share a browser."""
    contexts: dict[str, BrowserContext] = {}

    def open_tab(name: str, path: str = "/") -> Page:
        context = contexts.get(name) or contexts.setdefault(name, log_in(name, site))
        page = context.new_page()
        page.goto(path)
        return page

    return open_tab


@pytest.fixture(scope="session", autouse=True)
def _sync_playwright_keeps_a_loop() -> None:
    # Django takes Playwright's event loop for a server's.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "own_site(**env): has a site with this environment")
