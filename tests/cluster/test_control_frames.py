"""Pings, pongs and parts of messages, which servers handle, are counted like messages."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from harness.demo_data import make_demo_data
from harness.frames import CLOSE, HEARTBEAT, PING, PONG, TEXT, frame
from harness.raw_client import RawClient
from harness.services import free_port, site_server
from notifications.conf import conf
from notifications.hub.limits import BURST_SECONDS, FLOOD_SECONDS

SERVERS = ["daphne", "plain daphne", "uvicorn", "uvicorn, websockets", "uvicorn, wsproto"]
FIRST = frame(b"", TEXT, fin=False)
# What a client sends once, and then again and again.
FLOODS = {
    "empty pings": (b"", frame(b"", PING)),
    "long pings": (b"", frame(b"p" * 125, PING)),
    "pongs": (b"", frame(b"", PONG)),
    "empty parts": (FIRST, frame(b"", 0, fin=False)),
    "parts of a byte": (FIRST, frame(b" ", 0, fin=False)),
    "pings between parts": (FIRST, frame(b"", PING) + frame(b"", 0, fin=False)),
}
BURST = int(BURST_SECONDS * conf.MAX_FRAMES_PER_SECOND)
FLOOD = int(FLOOD_SECONDS * conf.MAX_FRAMES_PER_SECOND)
SENT = 20_000
MAX_ANSWER_SECONDS = 0.2  # for a neighbour


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    database = tmp_path_factory.mktemp("site") / "site.sqlite3"
    env = {
        "DATABASE_URL": f"sqlite:///{database}",
        "DJANGO_SETTINGS_MODULE": "tests.cluster.settings",
    }
    make_demo_data(env)
    with site_server(free_port(), env, request.param) as server:
        yield server
        assert "Traceback" not in server.output()


@pytest.fixture
def alice(server, new_visitor):
    return new_visitor(server.url, "alice")


def open_tab(server, visitor):
    client = RawClient(server.port).open_tab(visitor)
    client.receive_frames("heartbeat")
    return client


def flood(client, first, again):
    with suppress(OSError):  # closed by the server, or by the test
        client.send(first)
        for _ in range(SENT // 1000):
            client.send(again * 1000)


@pytest.mark.parametrize("kind", FLOODS)
def test_a_client_that_floods_is_closed_with_4429(server, alice, kind):
    before = server.memory_mb()
    disconnected = server.output().count("Disconnected a client")
    client = open_tab(server, alice)
    sender = threading.Thread(target=flood, args=[client, *FLOODS[kind]], daemon=True)
    sender.start()

    opcodes, frames = [], []
    while (received := client.receive()) is not None:
        opcodes.append(received[0])
        frames.append(received[1])
        if received[0] == CLOSE:
            break
    client.close()
    sender.join()

    assert frames[-1] == (4429).to_bytes(2, "big")
    assert opcodes.count(PONG) <= BURST
    assert sum(b'"rate_limited"' in text for text in frames) == 1
    assert server.output().count("Disconnected a client") == disconnected + 1
    assert server.memory_mb() - before < 20


def test_as_many_pings_as_messages_may_come_at_once(server, alice):
    client = open_tab(server, alice)

    client.send(frame(b"p", PING) * (BURST - 2) + frame(HEARTBEAT))

    received = []
    while (one := client.receive())[0] != TEXT or b'"heartbeat"' not in one[1]:
        received.append(one)
    assert received.count((PONG, b"p")) == BURST - 2
    client.close()


def test_messages_and_pings_are_counted_together(server, alice):
    client = open_tab(server, alice)

    client.send((frame(HEARTBEAT) + frame(b"", PING)) * BURST)

    frames, _ = client.receive_frames("error")
    assert frames[-1]["code"] == "rate_limited"
    client.close()


def test_a_message_in_parts_is_counted_by_its_parts(server, alice):
    client = open_tab(server, alice)
    parts = [frame(b" ", 0, fin=False)] * (BURST // 2)

    client.send(FIRST + b"".join(parts) + frame(HEARTBEAT, 0))
    assert client.receive_frames("heartbeat")[0][-1]["unread"] == 0

    client.send(FIRST + b"".join(parts) + frame(HEARTBEAT, 0))
    assert client.receive_frames("error")[0][-1]["code"] == "rate_limited"
    client.close()


@pytest.mark.realtime
def test_floods_of_frames_delay_no_other_client(server, alice, new_visitor):
    neighbour = new_visitor(server.url, "bob").open_tab(server.url)
    neighbour.receive("heartbeat")
    clients = [open_tab(server, alice) for _ in range(5)]
    senders = [
        threading.Thread(target=flood, args=[client, *each], daemon=True)
        for client, each in zip(clients, FLOODS.values(), strict=False)
    ]

    answers = []
    for sender in senders:
        sender.start()
    ends = time.monotonic() + 3
    while time.monotonic() < ends:
        sent_at = time.monotonic()
        neighbour.send('{"type": "heartbeat"}')
        neighbour.receive("heartbeat")
        answers.append(time.monotonic() - sent_at)
        time.sleep(0.1)

    for client in clients:
        client.close()
    assert max(answers) < MAX_ANSWER_SECONDS, sorted(answers)[-5:]
