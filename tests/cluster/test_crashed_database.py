"""PostgreSQL crashes on a site that does not wait for the disk: nothing that was shown is lost."""

from __future__ import annotations

import pytest

from harness.services import DURABLE, postgres_server
from tests.cluster.conftest import FAST

pytestmark = pytest.mark.verify(30)


@pytest.fixture
def postgres_that_forgets():
    """Write commits to the disk ten seconds later, unless a transaction asks for it."""
    options = ("--synchronous_commit=off", "--wal_writer_delay=10s", "--wal_writer_flush_after=1GB")
    with postgres_server(DURABLE, *options) as server:
        yield server


def test_a_number_that_was_published_survives_a_crash(
    start_site, postgres_that_forgets, shared_redis, new_visitor
):
    postgres = postgres_that_forgets
    env = {**FAST, "DATABASE_URL": postgres.create_database("site"), "REDIS_URL": shared_redis.url}
    site = start_site({**env, "NOTIFICATIONS_HEARTBEAT_INTERVAL": "2"})
    url = site.servers[0].url
    alice = new_visitor(url, "alice")
    tab = alice.open_tab(url)
    tab.receive("heartbeat")
    alice.get_json(f"{url}/notify/2/")
    shown = [tab.receive("hello") for _ in range(2)]

    postgres.crash()
    postgres.start()

    assert len(alice.get_json(f"{url}/notifications/items/")["items"]) == 2
    alice.get_json(f"{url}/notify/2/")
    shown += [tab.receive("hello") for _ in range(2)]
    assert [frame["seq"] for frame in shown] == [1, 2, 3, 4]
    assert len({frame["id"] for frame in shown}) == 4

    # A replica takes over that had less, and the check notices it.
    site.shell("from notifications.models import Inbox; Inbox.objects.update(seq=2)")
    assert tab.receive("resync")["seq"] == 2
