"""The demo site in other engines than the Chromium of tests/browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.demo_data import PUBLIC_PASSWORD
from tests.browser.conftest import Site, running_site

from .engine import Engine
from .firefox import firefox
from .webkit import webkit

ENGINES = {"Firefox": firefox, "WebKit": webkit}


@pytest.fixture(scope="package", params=ENGINES)
def running_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ENGINES[request.param]() as engine:
        yield engine


@pytest.fixture(scope="package")
def site(running_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site for each engine, so that they share no data."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def engine(running_engine: Engine) -> Engine:
    running_engine.forget()
    return running_engine


@pytest.fixture
def log_in(engine: Engine, site: Site) -> Callable[[str], None]:
    def log_in(name: str) -> None:
        engine.visit(f"{site.url}/login/?next=/")
        engine.write("[name=username]", name)
        engine.write("[name=password]", PUBLIC_PASSWORD)
        engine.click("form:has([name=password]) button")
        engine.expect_online()

    return log_in
