"""How much of what many tabs lack a process holds while it makes them whole."""

from __future__ import annotations

import tracemalloc

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from notifications.audiences import Recipient
from notifications.db.thread import DatabaseThread
from notifications.hub.catch_up import MAX_ROUND_SIZE, CatchUp
from notifications.hub.connection import LiveConnection
from notifications.inbox.pages import Position, read_latest
from notifications.lifecycle import numbering
from notifications.models import Notification
from notifications.sessions.authentication import Session

TABS = 50  # as many accounts as one query reads
ITEMS = 60  # that each lacks
LARGE = 16_000  # characters of each, about as much as meta data may have


class EagerPeer:
    """Takes everything at once, and remembers how much."""

    is_full = False

    def __init__(self):
        self.size = 0

    def write(self, message):
        self.size += len(message.text)
        return True

    def close(self, code):
        pass


def make_readers_who_lack_much():
    accounts = User.objects.bulk_create(User(username=f"reader {n}") for n in range(TABS))
    for account in accounts:
        Notification.objects.bulk_create(
            Notification(account=account, type="report", body="Sales", meta_data="x" * LARGE)
            for _ in range(ITEMS)
        )
    numbering.number_and_publish([account.pk for account in accounts], "default")
    return Recipient.of_many(accounts), read_latest(Recipient.of(accounts[0])).position


@pytest.fixture
def traced_memory():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture
async def healing():
    database = DatabaseThread("healing")
    yield CatchUp(database)
    await database.close()


async def test_what_many_tabs_lack_is_not_held_in_memory_all_at_once(
    transactional_db, healing, traced_memory
):
    recipients, head = await sync_to_async(make_readers_who_lack_much)()
    start = Position(0, 0, head.epoch, head.scope)
    peers = [EagerPeer() for _ in recipients]
    for recipient, peer in zip(recipients, peers, strict=True):
        healing.begin(LiveConnection(recipient, Session("a session"), peer, start))
    tracemalloc.clear_traces()

    while any(peer.size < LARGE for peer in peers):
        await healing.step()

    _, peak = tracemalloc.get_traced_memory()
    assert peak < TABS * ITEMS * LARGE / 2
    assert all(peer.size < 2 * MAX_ROUND_SIZE for peer in peers)  # nobody before the others' turn
