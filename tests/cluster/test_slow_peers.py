"""Clients that never read: cut off with little memory held for them, and no neighbour notices."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from notifications.conf import conf
from notifications.transports import CLOSING
from tests.cluster.conftest import FAST, wait_until
from tests.raw_client import HEARTBEAT, RawClient, frame

STALL = 5  # seconds, in place of the default
EACH = 10  # clients of each kind
LONGEST = 0.2  # seconds for an answer to a neighbour

NOTIFY_A_LOT = """
from django.db import transaction
alice = User.objects.get(username="alice")
with transaction.atomic():
    for number in range(100):
        notify_accounts(alice, "stored", str(number), meta_data="x" * 16_000)
for number in range(300):
    notify_accounts(alice, "passing", str(number), meta_data="x" * 16_000, persist=False)
"""


def files_of(server):
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def talk(clients, ended):
    while not ended.wait(0.2):
        for client in clients:
            client.send(frame(HEARTBEAT))


def answered_in(tab):
    asked_at = time.monotonic()
    tab.say('{"type": "heartbeat"}')
    tab.receive("heartbeat")
    return time.monotonic() - asked_at


def test_whoever_reads_nothing_is_cut_off_within_a_minute():
    assert conf.STALL_TIMEOUT + 1 + CLOSING <= 60


@pytest.mark.slow
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "asgi"])
@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_who_never_reads_is_cut_off_with_bounded_memory_and_harms_no_neighbour(
    start_site, new_visitor, shared_redis, kind, direct
):
    env = {
        "REDIS_URL": shared_redis.url,
        "NOTIFICATIONS_STALL_TIMEOUT": str(STALL),
        "NOTIFICATIONS_HEARTBEAT_TIMEOUT": "60",
        "NOTIFICATIONS_DIRECT_WRITES": str(int(direct)),
    }
    site = start_site({**FAST, **env}, server=kind)
    (server,) = site.servers
    alice, carol = (new_visitor(server.url, name) for name in ("alice", "carol"))
    neighbour = new_visitor(server.url, "bob").open_tab(server.url)
    neighbour.receive("heartbeat")
    site.shell('notify_accounts(User.objects.get(username="alice"), "first", "")')
    files, memory = files_of(server), server.memory()

    def open_many(visitor):
        return [RawClient(server.port, receive_buffer=4096).open_tab(visitor) for _ in range(EACH)]

    # Alice's are told a lot, and some say nothing; carol's get only the answers to what they say.
    silent, talking, untold = open_many(alice), open_many(alice), open_many(carol)
    ended = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        talked = threads.submit(talk, [*talking, *untold], ended)
        # 6.4 MB for each of alice's: more than all buffers hold.
        told = threads.submit(site.shell, NOTIFY_A_LOT)
        told_at = time.monotonic()
        answers, grown = [], 0.0
        try:
            while not told.done() or files_of(server) > files:
                told_at = told_at if told.done() else time.monotonic()
                assert time.monotonic() - told_at < STALL + 1 + CLOSING + 5
                answers.append(answered_in(neighbour))
                grown = max(grown, server.memory() - memory)
                time.sleep(0.1)
        finally:
            ended.set()
        talked.result()
        told.result()

    # By ASGI, sixteen times as much may wait for each of alice's.
    assert grown < (12 if direct else 45), grown  # MB
    assert sorted(answers)[int(0.95 * len(answers))] < LONGEST, sorted(answers)
    wait_until(lambda: site.count("Connection") == 1)
    assert "Traceback" not in server.output()
    for client in (*silent, *talking, *untold):
        client.close()
