"""A client that was written from docs/protocol.md only, on a real server."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest

from harness.listener import listener
from harness.second_client import SecondClient, reconnecting
from harness.services import free_port
from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.conftest import FAST


@pytest.fixture
def site(start_site, shared_redis):
    return start_site({"REDIS_URL": shared_redis.url, **FAST})


@pytest.fixture
def server(site):
    return site.servers[0]


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


async def read_frame(reader):
    """Return the bytes of a server's frame."""
    frame = await reader.readexactly(2)
    if size := {126: 2, 127: 8}.get(frame[1]):
        frame += await reader.readexactly(size)
        return frame + await reader.readexactly(int.from_bytes(frame[2:]))
    return frame + await reader.readexactly(frame[1])


@contextmanager
def cutting_proxy(port, cuts):
    """
    Yield the address of a proxy to this port, which cuts WebSockets after some frames.

    cuts: after how many, for each connection; those that follow are not cut.
    """

    async def forward(source, target):
        while data := await source.read(65536):
            target.write(data)

    async def handle(reader, writer):
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
        sending = asyncio.create_task(forward(reader, to_server))
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await from_server.readuntil(b"\r\n\r\n")
                writer.write(head)
                if b" 101 " in head and cuts:
                    for _ in range(cuts.popleft()):
                        writer.write(await read_frame(from_server))
                    await writer.drain()
                else:
                    await forward(from_server, writer)
        finally:
            sending.cancel()
            to_server.transport.abort()

    own_port = free_port()
    with listener(own_port, handle):
        yield f"http://127.0.0.1:{own_port}"


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


async def test_cuts_after_any_frame_leave_no_gap(monkeypatch, site, server, cookies, new_visitor):
    monkeypatch.setattr(reconnecting, "MAX_BACK_OFF_SECONDS", 0.1)
    alice = new_visitor(server.url, "alice")
    cuts = deque()
    with cutting_proxy(server.port, cuts) as proxy:
        client, other = SecondClient(proxy, cookies), SecondClient(server.url, cookies)
        async with running(client):
            await until(lambda: client.is_up_to_date)
        # While it is away, it misses items, and then its position becomes invalid.
        for is_restored in (False, True):
            await asyncio.to_thread(alice.get_json, f"{server.url}/notify/3/")
            if is_restored:
                await asyncio.to_thread(site.manage, "notification_maintenance", "--new-epoch")
            cuts.extend([0, 1, 2, 3, 4])
            async with running(client, other):
                await until(lambda: not cuts and agree(client, other))
            assert list(client.items.values()).count("unread") == client.counts[0] >= 3
