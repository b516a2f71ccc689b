"""How much memory a process needs while many tabs catch up."""

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
ITEMS = 60  # that each has missed
LARGE = 16_000  # characters of each, about the limit of meta data


class EagerWriter:
    """Takes everything at once, and counts the characters."""

    is_full = False

    def __init__(self):
        self.size = 0

    def write(self, message):
        self.size += len(message.text)
        return True

    def close(self, code):
        pass


def make_recipients_far_behind():
    accounts = User.objects.bulk_create(User(username=f"user {n}") for n in range(TABS))
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
async def catch_up():
    database = DatabaseThread("catch_up")
    yield CatchUp(database)
    await database.close()


async def test_the_changes_of_many_tabs_are_not_all_in_memory_at_once(
    transactional_db, catch_up, traced_memory
):
    recipients, latest = await sync_to_async(make_recipients_far_behind)()
    start = Position(0, 0, latest.epoch, latest.scope)
    writers = [EagerWriter() for _ in recipients]
    for recipient, writer in zip(recipients, writers, strict=True):
        catch_up.begin(LiveConnection(recipient, Session("a session"), writer, start))
    tracemalloc.clear_traces()

    while any(writer.size < LARGE for writer in writers):
        await catch_up.step()

    _, peak = tracemalloc.get_traced_memory()
    assert peak < TABS * ITEMS * LARGE / 2
    assert all(writer.size < 2 * MAX_ROUND_SIZE for writer in writers)  # in turns
