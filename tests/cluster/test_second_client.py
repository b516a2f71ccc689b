"""A client that was written from docs/protocol.md only, on a real server."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest

from harness.second_client import SecondClient
from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.conftest import FAST


@pytest.fixture
def server(start_site, shared_redis):
    return start_site({"REDIS_URL": shared_redis.url, **FAST}).servers[0]


@pytest.fixture
def cookies(server, new_visitor):
    visitor = new_visitor(server.url, "alice")
    return {cookie.name: cookie.value for cookie in visitor.cookies}


@asynccontextmanager
async def running(*clients):
    tasks = [asyncio.create_task(client.run()) for client in clients]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(condition):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        await asyncio.sleep(0.02)


def agree(*clients):
    """Whether all are up to date, with the same items, counts and position."""
    states = [(client.items, client.counts, client.position) for client in clients]
    return all(client.is_up_to_date for client in clients) and states.count(states[0]) == len(
        states
    )


async def test_two_clients_of_one_account_agree(server, cookies, new_visitor):
    shown = []
    one = SecondClient(server.url, cookies, on_shown=lambda frame: shown.append(frame["id"]))
    other = SecondClient(server.url, cookies)
    alice = new_visitor(server.url, "alice")
    async with running(one, other):
        await until(lambda: one.is_up_to_date and other.is_up_to_date)
        before = len(one.items)

        await asyncio.to_thread(alice.get_json, f"{server.url}/notify/3/")

        await until(lambda: len(one.items) == before + 3 and agree(one, other))
        ids = list(one.items)
        assert shown == ids[before:]
        assert one.counts[0] == list(one.items.values()).count("unread")

        await one.mark(ids[-2:], "read")
        await until(lambda: agree(one, other) and other.items[ids[-1]] == "read")
        answer = await other.mark_all("archived")
        await until(lambda: agree(one, other) and one.items == {} and one.counts == (0, 0))
        await one.undo(answer["range"])
        await until(lambda: agree(one, other) and list(one.items) == ids)


@pytest.mark.parametrize("was", ["read", "unread"])
async def test_an_item_that_comes_back_from_the_archive_is_fetched(
    server, cookies, new_visitor, was
):
    alice = new_visitor(server.url, "alice")
    old = SecondClient(server.url, cookies)
    async with running(old):
        await asyncio.to_thread(alice.get_json, f"{server.url}/notify/2/")
        await until(lambda: old.is_up_to_date and len(old.items) >= 2)
        archived = list(old.items)[-1]
        if was == "read":
            await old.mark([archived], was)
        await old.mark([archived], "archived")
        new = SecondClient(server.url, cookies)
        async with running(new):
            await until(lambda: agree(old, new) and archived not in new.items)

            await old.mark([archived], "inbox")

            await until(lambda: agree(old, new) and new.items.get(archived) == was)
