"""Clients that never read: cut off with little memory held for them, and no neighbour notices."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from harness.frames import HEARTBEAT, frame
from harness.raw_client import RawClient, upgrade
from harness.services import free_port, site_server
from notifications.conf import conf
from notifications.servers.asgi import ASGI_BUFFER_FACTOR
from notifications.servers.base import CLOSE_SECONDS
from tests.cluster.conftest import FAST, each_way, wait_until

STALL = 5  # seconds, in place of the default
EACH = 10  # clients of each kind
LONGEST = 0.2  # seconds for an answer to a neighbour
ESTABLISHED = "01"
KERNEL = 10_000_000  # bytes that it may take for one client; Linux takes 3 to 6 million

# Each has an account of its own: what is written to several sockets of one is the same bytes.
PEERS = """
for name in {names}:
    User.objects.create_user(name, password="demo")
notify_accounts(User.objects.get(username="alice"), "first", "")
"""
NOTIFY_A_LOT = """
from django.db import transaction
peers = list(User.objects.filter(username__startswith="told"))
with transaction.atomic():
    for number in range(10):
        notify_accounts(peers, "stored", str(number), meta_data="x" * 16_000)
for number in range(450):
    notify_accounts(peers, "passing", str(number), meta_data="x" * 16_000, persist=False)
"""


def connections(server):
    """How many clients the server's kernel is connected with."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{server.port:04X}") and row[3] == ESTABLISHED for row in rows)


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
    assert conf.STALL_TIMEOUT + 1 + CLOSE_SECONDS <= 60


@pytest.mark.realtime
@each_way
def test_who_never_reads_is_cut_off_with_bounded_memory_and_harms_no_neighbour(
    start_site, new_visitor, shared_redis, request, server, direct
):
    env = {
        "REDIS_URL": shared_redis.url,
        "NOTIFICATIONS_STALL_TIMEOUT": str(STALL),
        "NOTIFICATIONS_DIRECT_WRITES": str(int(direct)),
    }
    site = start_site({**FAST, **env}, server=server)
    (process,) = site.servers
    neighbour = new_visitor(process.url, "bob").open_tab(process.url)
    neighbour.receive("heartbeat")
    names = [f"told{number}" for number in range(2 * EACH)]
    site.shell(PEERS.format(names=names))
    visitors = [new_visitor(process.url, name) for name in (*names, *["carol"] * EACH)]
    memory = process.memory()

    peers = [RawClient(process.port, receive_buffer=4096).open_tab(visitor) for visitor in visitors]
    for peer in peers:
        request.addfinalizer(peer.close)
    # Some say nothing; carol's get only the answers to what they say.
    talking = peers[EACH:]
    ended = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        talked = threads.submit(talk, talking, ended)
        # 7 MB for each who is told: more than all buffers hold.
        told = threads.submit(site.shell, NOTIFY_A_LOT)
        told_at = time.monotonic()
        answers, grown = [], 0.0
        try:
            while not told.done() or connections(process) > 1:
                told_at = told_at if told.done() else time.monotonic()
                assert time.monotonic() - told_at < STALL + 1 + CLOSE_SECONDS + 5
                answers.append(answered_in(neighbour))
                grown = max(grown, process.memory() - memory)
                time.sleep(0.1)
        finally:
            ended.set()
        talked.result()
        told.result()

    # Up to 14 on a busy machine, and 48 and more without our bound. By ASGI, sixteen times as much
    # may wait for each; there it stays so without our bound: the kernel takes 3 MB for each and
    # then, for the same stall timeout, cuts off who took none of it, before much waits.
    # The test below shows that bound itself.
    assert grown < (24 if direct else 60), grown  # MB
    assert sorted(answers)[int(0.95 * len(answers))] < LONGEST, sorted(answers)
    wait_until(lambda: site.count("Connection") == 1)
    assert "Traceback" not in process.output()


@pytest.mark.verify
@each_way
def test_no_more_than_the_bound_waits_in_a_server_for_a_peer_that_never_reads(server, direct):
    env = {**FAST, "NOTIFICATIONS_DIRECT_WRITES": str(int(direct))}
    with (
        site_server(free_port(), env, server, application="tests.cluster.filling") as process,
        closing(RawClient(process.port, receive_buffer=4096)) as client,
    ):
        assert client.shake_hands(upgrade(process.port)) == 101
        wait_until(lambda: process.get_json("/")[0])
        taken = process.get_json("/")[0]["taken"]

    most = (1 if direct else ASGI_BUFFER_FACTOR) * conf.MAX_UNSENT
    assert most <= taken < most + KERNEL
