"""The site's name and the database's time: read without making anybody wait."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.apps import apps
from django.core.management import call_command
from django.db import OperationalError, connection, connections, transaction

from notifications import broadcast, protocol
from notifications.apps import create_sequence
from notifications.channel_layer import site as module
from notifications.channel_layer.site import Site, SiteReader, read
from notifications.models import BroadcastSequence

READ = Site("read", 5.0)


class Clock:
    """Stands still until it is moved on."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.suspended = 0.0  # seconds that only the wall clock went on

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + self.suspended


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Database:
    """What `read` does instead of asking the database."""

    def __init__(self) -> None:
        self.reads = 0
        self.answer: Callable[[], Site] = lambda: READ
        self.is_open = threading.Event()
        self.is_open.set()

    def read(self) -> Site:
        self.reads += 1
        assert self.is_open.wait(30)
        return self.answer()


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    database = Database()
    monkeypatch.setattr(module, "read", database.read)
    yield database
    database.is_open.set()


def fail() -> Site:
    raise OperationalError("server at 10.0.0.5 refused")


def settle(reader: SiteReader) -> None:
    assert reader._attempt
    reader._attempt.join(30)
    assert not reader._attempt.is_alive()


# --- Without a database


def test_the_first_call_waits_and_the_next_one_does_not(database: Database) -> None:
    reader = SiteReader()

    assert reader.wait() == READ
    assert [reader.known(), reader.wait(), asyncio.run(reader.wait_async())] == [READ] * 3
    assert database.reads == 1


async def test_the_first_call_may_be_in_an_event_loop(database: Database) -> None:
    assert await SiteReader().wait_async() == READ
    assert SiteReader().wait() == READ


def test_it_is_read_again_after_a_minute_and_nobody_waits(database: Database, clock: Clock) -> None:
    reader = SiteReader()
    reader.wait()
    database.is_open.clear()
    database.answer = lambda: Site("renamed", 6.0)

    clock.now += module.REFRESH_SECONDS - 1
    assert [reader.wait() for _ in range(3)] == [READ] * 3
    assert database.reads == 1
    clock.now += 2
    assert [reader.wait() for _ in range(3)] == [READ] * 3
    database.is_open.set()
    settle(reader)
    assert reader.known() == Site("renamed", 6.0)
    assert database.reads == 2


def test_what_is_known_stays_while_the_database_is_away(
    database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    reader = SiteReader()
    reader.wait()
    database.answer = fail

    clock.now += module.REFRESH_SECONDS + 1
    reader.known()
    settle(reader)

    assert reader.wait() == READ
    assert caplog.records == []


def test_without_a_database_nothing_is_known_and_one_line_is_logged(
    database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    reader = SiteReader()
    database.answer = fail
    assert reader.wait() is None
    for _ in range(3):
        assert reader.wait() is None
    assert database.reads == 1

    clock.now += module.RETRY_SECONDS + 1
    assert reader.wait() is None
    clock.now += module.RETRY_SECONDS + 1
    database.answer = lambda: READ
    assert reader.wait() == READ

    assert database.reads == 3
    (record,) = caplog.records
    assert "can't be read (OperationalError)" in record.getMessage()
    assert "10.0.0.5" not in caplog.text


async def test_a_frozen_database_is_waited_for_once(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SiteReader()
    database.is_open.clear()
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    assert reader.wait() is None

    # Twenty seconds, of which nothing is left.
    monkeypatch.setattr(module, "WAIT_SECONDS", 20)
    monkeypatch.setattr(module, "BACKGROUND_WAIT_SECONDS", 20)
    clock.now += 20
    assert reader.wait() is None
    assert await reader.wait_async() is None

    assert database.reads == 1
    database.is_open.set()
    settle(reader)
    assert reader.known() == READ


def test_an_attempt_that_hangs_is_not_the_last_one(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a connection to a host that is gone, which may hang for a quarter of an hour."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    reader = SiteReader()
    database.is_open.clear()
    assert reader.wait() is None
    hung = reader._attempt
    assert hung

    clock.now += module.HUNG_SECONDS - 1
    assert reader.known() is None
    assert reader._attempt is hung
    clock.now += 2
    reader.known()
    assert reader._attempt is not hung

    database.is_open.set()
    settle(reader)
    hung.join(30)
    assert reader.known() == READ
    assert database.reads == 2


def test_after_a_suspension_the_time_is_read_again_at_once(
    database: Database, clock: Clock
) -> None:
    """Meanwhile the monotonic clock stood still, and the wall clock went on."""
    reader = SiteReader()
    reader.wait()
    database.answer = lambda: Site("read", 605.0)

    clock.now += module.RETRY_SECONDS + 1
    assert reader.known() == READ
    assert database.reads == 1
    clock.suspended += 600
    reader.known()
    settle(reader)

    assert reader.known() == Site("read", 605.0)
    assert database.reads == 2


def test_after_a_suspension_it_is_tried_until_the_database_answers(
    database: Database, clock: Clock
) -> None:
    reader = SiteReader()
    reader.wait()
    database.answer = fail

    clock.suspended += 600
    for reads in (2, 3, 4):
        clock.now += module.RETRY_SECONDS + 1
        assert reader.known() == READ
        settle(reader)
        assert database.reads == reads


def test_a_small_correction_of_the_clock_is_no_suspension(database: Database, clock: Clock) -> None:
    reader = SiteReader()
    reader.wait()

    clock.suspended -= module.MAX_DRIFT_SECONDS / 2
    clock.now += module.RETRY_SECONDS + 1
    assert reader.known() == READ

    assert database.reads == 1


def test_a_fork_reads_itself_what_its_parent_was_reading(database: Database) -> None:
    reader = SiteReader()
    database.is_open.clear()
    reader.known()
    attempt = reader._attempt
    assert attempt and attempt.is_alive()

    child = os.fork()
    if child == 0:
        database.is_open.set()
        attempt.begun_at -= module.RETRY_SECONDS + 1
        os._exit(0 if reader.wait() == READ else 1)

    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_an_exiting_process_makes_no_error(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot_start(self: Any) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(module._Attempt, "start", cannot_start)

    assert SiteReader().wait() is None


# --- With the database


def test_the_name_is_random_and_stays(db: None) -> None:
    first, second = read(), read()

    assert first.name == second.name
    assert len(first.name) == 32
    assert set(first.name) <= set("0123456789abcdef")
    with transaction.atomic():
        BroadcastSequence.objects.all().delete()
        assert read().name != first.name


def test_the_time_is_that_of_the_database(db: None) -> None:
    assert abs(read().now() - time.time()) < 5  # on this host, it has the same clock


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/St_Johns"])
def test_the_time_depends_on_no_zone(db: None, settings: Any, use_tz: bool, zone: str) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone

    assert abs(read().now() - time.time()) < 5


def test_a_thread_reads_it_during_an_uncommitted_transaction(db: None) -> None:
    broadcast("news", "Not committed")
    reader = SiteReader()

    assert reader.wait() == reader.known() is not None
    settle(reader)


def test_the_thread_leaves_no_connection_open(db: None) -> None:
    opened: list[Any] = []

    class Reader(SiteReader):
        def learn(self, site: Site) -> None:
            opened.append(connections[connection.alias])
            assert opened[0].connection is not None
            super().learn(site)

    reader = Reader()
    reader.wait()
    settle(reader)

    assert reader.known()
    assert opened[0].connection is None


def test_without_access_to_the_database_nothing_is_raised() -> None:
    # As in a test that is not marked to use it.
    assert SiteReader().wait() is None


def test_a_flushed_database_has_a_name_at_once(transactional_db: None) -> None:
    before = read().name

    call_command("flush", verbosity=0, interactive=False)

    assert BroadcastSequence.objects.count() == 1
    assert read().name != before


def test_without_its_row_the_name_is_made(transactional_db: None) -> None:
    BroadcastSequence.objects.all().delete()

    assert read().name == BroadcastSequence.objects.get().site


def test_the_row_that_an_older_release_inserts_has_a_name(db: None) -> None:
    BroadcastSequence.objects.all().delete()
    table = BroadcastSequence._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} (id, seq, floor, epoch) VALUES (1, 3, 0, 1)")

    assert len(BroadcastSequence.objects.get().site) == 32
    assert BroadcastSequence.objects.lock().seq == 3


@pytest.mark.django_db(transaction=True)
def test_the_migration_names_a_site_that_has_its_row_already() -> None:
    try:
        call_command("migrate", "site_notifications", "0001", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {BroadcastSequence._meta.db_table} SET seq = 7")
    finally:
        call_command("migrate", "site_notifications", verbosity=0)

    sequence = BroadcastSequence.objects.get()
    assert (sequence.seq, len(sequence.site)) == (7, 32)


def test_no_row_is_made_before_the_table_exists(db: None) -> None:
    class Before:
        def get_model(self, label: str, name: str) -> Any:
            raise LookupError

    create_sequence("default", Before())


def test_no_row_is_made_in_a_database_without_our_tables(db: None, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.Nowhere"]
    BroadcastSequence.objects.all().delete()

    create_sequence("default", apps)

    assert not BroadcastSequence.objects.exists()


class Nowhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return False


# --- account_message()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> SiteReader:
    """A process that knows nothing yet."""
    reader = SiteReader()
    monkeypatch.setattr(module, "reader", reader)
    return reader


def test_a_message_can_be_signed_as_the_first_thing_in_a_process(
    db: None, fresh: SiteReader
) -> None:
    assert "signed" in protocol.account_message({"type": "progress"})
    settle(fresh)


async def test_a_message_can_be_signed_in_an_event_loop(
    transactional_db: None, fresh: SiteReader
) -> None:
    assert "signed" in protocol.account_message({"type": "progress"})
    assert "signed" in await database_sync_to_async(protocol.account_message)({"type": "progress"})
    settle(fresh)


def test_without_a_database_a_message_is_unsigned(fresh: SiteReader) -> None:
    frame = {"type": "progress"}

    assert protocol.account_message(frame) == {"type": "notifications.frame", "frame": frame}


def test_a_wrong_frame_raises_an_error_before_anything_is_read(fresh: SiteReader) -> None:
    with pytest.raises(TypeError, match="must be a dict"):
        protocol.account_message("progress")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="“type”"):
        protocol.account_message({})

    assert fresh._attempt is None
