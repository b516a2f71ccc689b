from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection

from notifications.channel_layer import background_loop, sender
from notifications.hub import catch_up, hub
from notifications.hub.registration import Registration
from notifications.inbox import changes, pages

from .processes import ParkedDatabase
from .story import Draw, Step, Steps
from .tabs import Browser, Failure
from .world import World, copy_of_database, restore_database


class StoryRunner:
    """Runs stories, each in a fresh database."""

    def __init__(self, browser: Browser, pristine: sqlite3.Connection) -> None:
        self.browser = browser
        self.pristine = pristine
        self.errors: list[str] = []
        self.world: World | None = None
        self.log: list[str] = []  # the steps of the last story

    def run(self, story: Sequence[Step]) -> str | None:
        """Run a story to its end; return what went wrong, None if all was well."""
        restore_database(self.pristine)
        sender.breaker.succeeded()
        self.errors.clear()
        self.log.clear()
        self.world = World(self.browser, self.errors)
        try:
            steps = Steps(self.world)
            for name, seed in story:
                done = getattr(steps, name)(Draw(seed))
                if done:
                    self.log.append(f"{name} {done}")
                self.world.settle()
                self._raise_error()
            self.world.catch_up()
            self._raise_error()
            self.world.check()
            self._raise_error()
        except Failure as failure:
            return str(failure)
        finally:
            self.world.close()
            self.world = None
        return None

    def _raise_error(self) -> None:
        if self.errors:
            raise Failure(self.errors[0])

    def write_in_between(self) -> None:
        world = self.world
        if world and world.meanwhile and not connection.in_atomic_block:
            action, world.meanwhile = world.meanwhile, None
            action()


class Errors(logging.Handler):
    """Collects logged errors, because a failing hub or layer logs the error and tries again."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.found = found

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.name == "notifications.channel_layer.sender":
            self.found.append(self.format(record))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Make every limit so small that stories reach it."""
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 9
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 600
    monkeypatch.setattr(catch_up, "FIRST_ITEMS", 1)
    monkeypatch.setattr(catch_up, "MAX_ITEMS_PER_ROUND", 2)
    monkeypatch.setattr(catch_up, "MAX_ROUND_SIZE", 600)
    monkeypatch.setattr(pages, "PAGE_SIZE", 3)
    monkeypatch.setattr(changes, "MAX_CHANGES", 12)
    settings.NOTIFICATIONS_RETENTION_DAYS = None
    settings.NOTIFICATIONS_RETENTION_DAYS_UNREAD = None


@pytest.fixture
def edges(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    """Replace the channel layer, threads and presence by those of the model."""

    async def never(self: Any) -> None:
        await asyncio.Event().wait()

    sender = asyncio.new_event_loop()

    def start(function: Any, loop: Any = None) -> None:
        async def run() -> None:
            await function()

        sender.run_until_complete(run())

    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.model.processes.ModelLayer"}}
    monkeypatch.setattr(background_loop, "start", start)
    monkeypatch.setattr(hub, "DatabaseThread", ParkedDatabase.of_hub)
    monkeypatch.setattr(Registration, "step", never)
    yield
    sender.close()


@pytest.fixture
def runner(
    small: None,
    edges: None,
    transactional_db: None,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[StoryRunner]:
    for name in ("alice", "bob"):
        User.objects.create(username=name)
    Group.objects.create(name="Customers")
    runner = StoryRunner(browser, copy_of_database())
    read_latest_of_many = pages.read_latest_of_many

    def read_latest_and_write(recipients: Any) -> Any:
        latest = read_latest_of_many(recipients)
        runner.write_in_between()
        return latest

    for module in (pages, changes):
        monkeypatch.setattr(module, "read_latest_of_many", read_latest_and_write)
    handler = Errors(runner.errors)
    loggers = [logging.getLogger(name) for name in ("notifications", "django", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    yield runner
    for logger in loggers:
        logger.removeHandler(handler)
