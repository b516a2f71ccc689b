"""Clients that never read: cut off with little memory held for them, and no neighbour notices."""

from __future__ import annotations

import threading
import time
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
alice = User.objects.get(username="alice")
for number in range({count}):
    notify_accounts(alice, "lot", str(number), meta_data="x" * 16_000)
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
    site.shell(NOTIFY_A_LOT.format(count=1))  # what is loaded then is no one's fault
    files, memory = files_of(server), server.memory()

    def open_many(visitor):
        return [RawClient(server.port, receive_buffer=4096).open_tab(visitor) for _ in range(EACH)]

    # Alice's are told a lot, and some say nothing; carol's get only the answers to what they say.
    silent, talking, untold = open_many(alice), open_many(alice), open_many(carol)
    ended = threading.Event()
    talker = threading.Thread(target=talk, args=([*talking, *untold], ended))
    talker.start()
    try:
        site.shell(NOTIFY_A_LOT.format(count=300))  # 4.8 MB for each: more than all buffers hold
        told_at = time.monotonic()
        answers, grown = [], 0.0
        while files_of(server) > files:
            assert time.monotonic() - told_at < STALL + 1 + CLOSING + 5
            answers.append(answered_in(neighbour))
            grown = max(grown, server.memory() - memory)
            time.sleep(0.1)
    finally:
        ended.set()
        talker.join()

    assert grown < 30, grown
    assert sorted(answers)[int(0.95 * len(answers))] < LONGEST, sorted(answers)
    wait_until(lambda: site.count("Connection") == 1)
    assert "Traceback" not in server.output()
    for client in (*silent, *talking, *untold):
        client.close()
