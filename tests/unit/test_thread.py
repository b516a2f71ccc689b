"""A dedicated thread for database work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections

from notifications.db.thread import DatabaseThread

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def thread() -> AsyncIterator[DatabaseThread]:
    thread = DatabaseThread("test")
    yield thread
    await thread.close()


def use_connection() -> Any:
    """Return the driver's connection itself: an id could be reused by a later one."""
    assert not User.objects.filter(username="nobody").exists()
    return connection.connection


def lose_connection() -> None:
    assert connection.connection is not None
    connection.connection.close()


async def test_the_database_connection_stays_open_between_calls(thread: DatabaseThread) -> None:
    assert await thread.run(use_connection) is await thread.run(use_connection)


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="Django never closes a database in memory"
)
async def test_a_lost_database_connection_is_replaced_without_an_error(
    thread: DatabaseThread,
) -> None:
    first = await thread.run(use_connection)
    await thread.run(lose_connection)

    assert await thread.run(use_connection) is not first


async def test_the_thread_waits_for_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"].setdefault("OPTIONS", {}), "pool", True)
    thread = DatabaseThread("test")

    def has_pool() -> bool:
        return "pool" in connections["default"].settings_dict["OPTIONS"]

    assert not await thread.run(has_pool)
    assert "pool" in connections.settings["default"]["OPTIONS"]  # as it is for requests
    await thread.close()
