"""Presence: leases, connections and the online and offline signals."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from notifications import online, presence
from notifications.models import Connection, Worker
from notifications.signals import account_offline, account_online

pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def make_worker() -> Callable[..., Worker]:
    def make(lease: float = 60, host: str = "web1") -> Worker:
        worker = Worker.objects.create(host=host, pid=1)
        expire(worker, -lease)
        return worker

    return make


@pytest.fixture
def worker(make_worker: Callable[..., Worker]) -> Worker:
    return make_worker()


def expire(worker: Worker, seconds_ago: float) -> None:
    """End a lease this many seconds ago, by the database's clock."""
    Worker.objects.filter(pk=worker.pk).update(lease_until=Now() - timedelta(seconds=seconds_ago))


def connection_of(account: User, worker: Worker, **fields: Any) -> Connection:
    return Connection(worker=worker, account=account, **fields)


def opened(account: User, worker: Worker) -> Connection:
    connection = connection_of(account, worker)
    presence.record([connection], [], [])
    return connection


@pytest.fixture
def signals() -> Iterator[list[tuple[str, Any]]]:
    """The signals that were sent, in order."""
    signals: list[tuple[str, Any]] = []

    def came_online(account_id: Any, **kwargs: Any) -> None:
        signals.append(("online", account_id))

    def went_offline(account_id: Any, **kwargs: Any) -> None:
        signals.append(("offline", account_id))

    account_online.connect(came_online)
    account_offline.connect(went_offline)
    yield signals
    account_online.disconnect(came_online)
    account_offline.disconnect(went_offline)


# --- online()


def test_accounts_with_a_live_connection_are_online(
    alice: User, bob: User, carol: User, make_worker: Callable[..., Worker]
) -> None:
    opened(alice, make_worker())
    opened(alice, make_worker())
    opened(bob, dead := make_worker())
    expire(dead, 1)

    assert online([alice, bob, carol]) == {alice.pk}
    assert online(alice) == online(alice.pk) == online(str(alice.pk)) == {alice.pk}
    assert online(User.objects.all()) == {alice.pk}
    assert online(account for account in [bob, carol]) == set()
    assert online([]) == set()


def test_online_takes_one_query_for_many_accounts(
    alice: User, bob: User, worker: Worker, django_assert_num_queries: Any
) -> None:
    for account in (alice, alice, bob):
        opened(account, worker)

    with django_assert_num_queries(1):
        assert online([alice, bob]) == {alice.pk, bob.pk}


def test_online_splits_many_accounts_into_several_queries(
    alice: User, bob: User, carol: User, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in (alice, carol):
        opened(account, worker)
    monkeypatch.setattr(presence, "KEYS_PER_QUERY", 1)

    assert online([alice, bob, carol]) == {alice.pk, carol.pk}


def test_online_refuses_a_value_that_is_not_an_account() -> None:
    with pytest.raises(ValueError, match="accounts must be accounts or their primary keys"):
        online("alice")


# --- Leases


def test_a_new_worker_gets_a_lease_by_the_databases_clock(alice: User, settings: Any) -> None:
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 100
    # The host's clock stopped in 2020.
    worker = Worker(host="web1", pid=1, lease_until=LONG_AGO)
    tab = connection_of(alice, worker, opened_at=LONG_AGO, last_seen=LONG_AGO)

    presence.renew_lease(worker, [tab])

    assert online(alice) == {alice.pk}
    renewed = Worker.objects.filter(
        lease_until__gt=Now() + timedelta(seconds=90), lease_until__lte=Now() + timedelta(100)
    )
    assert renewed.count() == 1


def test_a_worker_renews_only_its_own_lease(
    make_worker: Callable[..., Worker], django_assert_num_queries: Any
) -> None:
    worker, other = make_worker(), make_worker()
    expire(worker, 1)
    expire(other, 1)

    with django_assert_num_queries(3):  # with the two of a savepoint
        presence.renew_lease(worker, [])

    assert [row.pk for row in Worker.objects.alive()] == [worker.pk]
    assert [row.pk for row in Worker.objects.dead()] == [other.pk]


def test_a_reaped_worker_registers_again_with_its_connections(alice: User, worker: Worker) -> None:
    tab = opened(alice, worker)
    expire(worker, 1)
    assert presence.reap() == (1, 1)
    assert online(alice) == set()

    presence.renew_lease(worker, [tab])

    assert online(alice) == {alice.pk}
    assert list(Connection.objects.all()) == [tab]


def test_connections_of_a_worker_that_registers_again_are_not_overdue(
    alice: User, worker: Worker
) -> None:
    tab = connection_of(alice, worker, opened_at=LONG_AGO, last_seen=LONG_AGO)
    presence.retire(worker)

    presence.renew_lease(worker, [tab])

    assert not Connection.objects.overdue().exists()
    assert Connection.objects.get().opened_at == LONG_AGO


# --- Opened and closed connections


def test_opened_and_closed_connections_are_recorded(alice: User, bob: User, worker: Worker) -> None:
    first = opened(alice, worker)
    second, third = connection_of(alice, worker), connection_of(bob, worker)

    presence.record([second, third], [first], [])

    assert set(Connection.objects.all()) == {second, third}


def test_a_connection_that_closed_at_once_needs_no_row(
    alice: User, worker: Worker, signals: list[Any]
) -> None:
    tab = connection_of(alice, worker)

    presence.record([tab], [tab], [])

    assert not Connection.objects.exists()
    assert signals == []


def test_recording_twice_has_no_further_effect(alice: User, worker: Worker) -> None:
    tab = opened(alice, worker)

    presence.record([tab], [], [])
    presence.renew_lease(worker, [tab])
    presence.record([], [tab], [])
    presence.record([], [tab], [])

    assert not Connection.objects.exists()


def test_a_wrong_clock_on_a_workers_host_does_no_harm(alice: User, worker: Worker) -> None:
    tab = connection_of(alice, worker, last_seen=LONG_AGO)

    presence.record([tab], [], [])

    assert not Connection.objects.overdue().exists()


def test_a_connection_seen_recently_is_not_overdue(
    alice: User, make_worker: Callable[..., Worker], settings: Any
) -> None:
    settings.NOTIFICATIONS_HEARTBEAT_TIMEOUT = 20
    worker, dead = make_worker(), make_worker(lease=-1)
    seen, silent, recent = (opened(alice, worker) for _ in range(3))
    opened(alice, dead)
    Connection.objects.exclude(pk=recent.pk).update(last_seen=Now() - timedelta(seconds=101))
    Connection.objects.filter(pk=recent.pk).update(last_seen=Now() - timedelta(seconds=98))

    presence.record([], [], [seen.pk, uuid.uuid4()])

    # Those of dead workers are reaped, because nobody could close them.
    assert list(Connection.objects.overdue()) == [silent]


@pytest.mark.django_db(transaction=True)
def test_recording_fails_for_a_worker_without_a_row(alice: User) -> None:
    """After its row was reaped, the worker writes all its connections again."""
    tab = connection_of(alice, Worker(host="web1", pid=1))

    with pytest.raises(IntegrityError), transaction.atomic():
        presence.record([tab], [], [])
        connection.check_constraints()

    assert not Connection.objects.exists()


# --- Signals


def test_an_accounts_first_and_last_connection_send_signals(
    alice: User, bob: User, make_worker: Callable[..., Worker], signals: list[Any]
) -> None:
    one, other = make_worker(), make_worker()
    first, second = opened(alice, one), opened(alice, other)
    assert signals == [("online", alice.pk)]

    opened(bob, one)
    presence.record([], [first], [])
    assert signals[1:] == [("online", bob.pk)]

    presence.record([], [second], [])
    assert signals[2:] == [("offline", alice.pk)]


def test_replacing_a_connection_sends_no_signal(
    alice: User, worker: Worker, signals: list[Any]
) -> None:
    first = opened(alice, worker)

    presence.record([connection_of(alice, worker)], [first], [])

    assert signals == [("online", alice.pk)]


@pytest.mark.parametrize("how", ["retired", "reaped"])
def test_accounts_go_offline_with_their_last_worker(
    alice: User, bob: User, make_worker: Callable[..., Worker], signals: list[Any], how: str
) -> None:
    ending, staying = make_worker(), make_worker()
    for account, worker in ((alice, ending), (alice, ending), (bob, ending), (bob, staying)):
        opened(account, worker)
    signals.clear()

    if how == "retired":
        presence.retire(ending)
    else:
        expire(ending, 1)
        assert presence.reap() == (1, 3)

    assert signals == [("offline", alice.pk)]
    assert list(Worker.objects.all()) == [staying]
    assert Connection.objects.count() == 1


def test_a_failing_receiver_affects_nothing_else(
    alice: User, worker: Worker, signals: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError

    caplog.set_level(logging.CRITICAL, "django")
    account_online.connect(fail)
    try:
        opened(alice, worker)
    finally:
        account_online.disconnect(fail)

    assert signals == [("online", alice.pk)]
    assert online(alice) == {alice.pk}


def test_reaping_may_find_nothing() -> None:
    assert presence.reap() == (0, 0)


# --- Too many connections of one account


def test_an_accounts_oldest_connections_are_surplus(
    make_worker: Callable[..., Worker], alice: User, bob: User, carol: User, settings: Any
) -> None:
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_ACCOUNT = 2
    here, there, dead = make_worker(), make_worker(), make_worker(lease=-1)

    def opened_at(second: int, account: User, worker: Worker) -> uuid.UUID:
        row = connection_of(account, worker, opened_at=LONG_AGO + timedelta(seconds=second))
        row.save()
        return row.pk

    alices = [opened_at(n, alice, [here, there][n % 2]) for n in (3, 1, 2, 0)]
    bobs = [opened_at(n, bob, here) for n in range(3)]
    opened_at(0, carol, here), opened_at(1, carol, here), opened_at(2, carol, dead)

    assert set(presence.surplus([alice.pk, carol.pk])) == {alices[1], alices[3]}
    assert presence.surplus([bob.pk]) == [bobs[0]]
    assert presence.surplus([]) == []
    settings.NOTIFICATIONS_MAX_SOCKETS_PER_ACCOUNT = None
    assert presence.surplus([alice.pk]) == []
