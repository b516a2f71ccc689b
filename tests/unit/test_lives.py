"""A row belongs to one life of one account: nothing of it reaches a new account with its key."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications import notify_accounts
from notifications.audiences import Recipient
from notifications.inbox import marks, pages
from notifications.inbox.changes import read_changes, read_changes_of_many
from notifications.lifecycle import lives, numbering
from notifications.maintenance import Maintenance, Report
from notifications.models import (
    AccountEnded,
    BroadcastReceipt,
    Connection,
    Inbox,
    Notification,
    Worker,
)
from notifications.presence import online
from tests.unit.conftest import Commit, Make, Published

pytestmark = pytest.mark.django_db

Recreate = Callable[[User], User]


def delete(account: User) -> None:
    User.objects.get(pk=account.pk).delete()  # not `delete()` on it, which would clear its key


def create(account: User) -> User:
    """Create a new account with the same key."""
    return User.objects.create(pk=account.pk, username=f"{account.username}2")


def recreate(account: User) -> User:
    delete(account)
    return create(account)


def raw_delete(account: User) -> None:
    """Delete an account so that no signal is sent."""
    rows = User.objects.filter(pk=account.pk)
    rows._raw_delete(rows.db)


def bodies(account: User, folder: pages.Folder = "inbox") -> list[str]:
    page = pages.read_page(Recipient.of(account), folder=folder)
    return [item["content"]["body"] for item in page.items]


def unread(account: User) -> int:
    return pages.read_latest(Recipient.of(account)).counts.total


@pytest.fixture
def given_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts have keys that the site gives, such as e-mail addresses."""
    monkeypatch.setattr(lives, "is_automatic", lambda field: False)


@pytest.fixture
def first_life(alice: User, notify: Make, send: Make) -> list[str]:
    """Alice has items in each state; return their ids."""
    ids = [notify(alice, f"Old {n}", replace_key=f"place {n}") for n in range(4)]
    news = [send("Old news"), send("More old news")]
    marks.mark(Recipient.of(alice), "read", [ids[1], news[0]])
    marks.mark(Recipient.of(alice), "archived", [ids[2], news[1]])
    notify_accounts(alice, "hello", "Old and unnumbered")
    return [*ids, *news]


# --- What a new account with the key of a deleted one finds


def test_a_new_account_sees_and_counts_nothing_of_the_one_before(
    alice: User, first_life: list[str]
) -> None:
    new = recreate(alice)

    for folder in ("inbox", "unread", "archived", "important"):
        assert bodies(new, folder) == []
    assert unread(new) == 0


def test_the_counts_of_many_accounts_leave_earlier_lives_out(
    alice: User, bob: User, first_life: list[str]
) -> None:
    new = recreate(alice)

    latest = pages.read_latest_of_many([Recipient.of(bob), Recipient.of(new)])

    assert [one.counts.unread for one in latest] == [0, 0]


def test_a_position_of_the_earlier_life_leads_to_a_reload(
    alice: User, bob: User, first_life: list[str]
) -> None:
    old = pages.read_latest(Recipient.of(alice)).position
    new = Recipient.of(recreate(alice))
    nothing = pages.read_latest(Recipient.of(bob)).position

    for changes in (
        read_changes(new, old, 100),
        *read_changes_of_many([(new, old, 100), (Recipient.of(bob), nothing, 100)])[:1],
    ):
        assert (changes.resync, changes.frames, changes.counts.unread) == (True, [], 0)


def test_changes_from_the_beginning_have_nothing_of_an_earlier_life(
    alice: User, first_life: list[str], notify: Make
) -> None:
    new = recreate(alice)
    position = pages.read_latest(Recipient.of(new)).position
    notify(new, "New")

    changes = read_changes(Recipient.of(new), position, 100)

    assert [frame["content"]["body"] for frame in changes.frames] == ["New"]
    assert changes.counts.unread == 1


def test_marks_change_nothing_of_an_earlier_life(alice: User, first_life: list[str]) -> None:
    new = Recipient.of(recreate(alice))

    chosen = marks.mark(new, "read", first_life)
    everything = marks.mark_all(new, "read", 100, 100)
    undone = marks.undo(new, marks.ChangeRange("archived", 1, 100))

    assert [marked.ids for marked in (chosen, everything, undone)] == [[], [], []]
    assert undone.latest.counts.total == 0


def test_live_updates_have_and_count_the_new_life_only(
    alice: User, first_life: list[str], published: Published, commit: Commit
) -> None:
    new = recreate(alice)
    published.clear()

    with commit():
        notify_accounts(new, "hello", "New", replace_key="place 0")

    (frame,) = published.frames
    assert (frame["content"]["body"], frame["unread"]) == ("New", 1)
    assert frame["replaces"] is None
    assert bodies(new) == ["New"]


def test_an_idempotency_key_counts_for_one_life(alice: User, notify: Make) -> None:
    notify(alice, "Welcome", idempotency_key="welcome")

    for _ in range(2):
        alice = recreate(alice)
        first = notify_accounts(alice, "hello", "Welcome", idempotency_key="welcome")
        second = notify_accounts(alice, "hello", "Welcome", idempotency_key="welcome")
        assert (first.created, second.created) == (1, 0)
        assert unread(alice) == 0  # finishes the end, and changes no key
        assert not notify_accounts(alice, "hello", "Welcome", idempotency_key="welcome").created


def test_an_account_that_is_deleted_and_created_in_one_transaction_begins_anew(
    alice: User, first_life: list[str], commit: Commit
) -> None:
    with commit(), transaction.atomic():
        new = recreate(alice)
        notify_accounts(new, "hello", "Welcome")

    assert bodies(new) == ["Welcome"]
    assert unread(new) == 1


def test_a_receiver_that_welcomes_new_accounts_writes_for_the_new_life(
    alice: User, first_life: list[str], commit: Commit
) -> None:
    from django.db.models.signals import post_save

    def welcome(instance: User, created: bool, **kwargs: Any) -> None:
        notify_accounts(instance, "hello", "Welcome")

    post_save.connect(welcome, sender=User)
    try:
        with commit():
            new = recreate(alice)
    finally:
        post_save.disconnect(welcome, sender=User)

    assert bodies(new) == ["Welcome"]


def test_connections_of_an_earlier_life_are_not_the_new_accounts(alice: User) -> None:
    worker = Worker.objects.create(host="web1", pid=1)
    Worker.objects.update(lease_until="2999-01-01T00:00Z")
    Connection.objects.create(worker=worker, account=alice)
    assert online(alice) == {alice.pk}

    new = recreate(alice)
    assert online(new) == set()

    Connection.objects.create(worker=worker, account=new)
    assert online(new) == {new.pk}


def test_a_key_may_have_many_lives(alice: User, notify: Make) -> None:
    for n in range(4):
        notify(alice, f"Life {n}")
        assert bodies(alice) == [f"Life {n}"]
        alice = recreate(alice)
        Maintenance().run(full=True)

    assert bodies(alice) == []
    assert AccountEnded.objects.count() == 1


# --- Reads


def test_a_read_writes_nothing_in_the_callers_transaction(
    alice: User, first_life: list[str], commit: Commit
) -> None:
    new = recreate(alice)

    with commit():
        with CaptureQueriesContext(connection) as queries:
            assert bodies(new) == []
            assert unread(new) == 0
        assert {query["sql"].split()[0].strip("(") for query in queries} == {"SELECT"}
        assert AccountEnded.objects.pending().exists()

    assert not AccountEnded.objects.pending().exists()
    assert not Notification.objects.filter(account=new).exists()


def test_what_an_earlier_life_did_with_a_broadcast_does_not_count(
    alice: User, first_life: list[str]
) -> None:
    delete(alice)
    new = User.objects.create(
        pk=alice.pk, username="other", date_joined=timezone.now() - timedelta(hours=1)
    )
    latest = pages.read_latest(Recipient.of(new))
    position = replace(latest.position, broadcast_seq=0)

    changes = read_changes(Recipient.of(new), position, 100)

    assert bodies(new) == ["More old news", "Old news"]
    assert bodies(new, "archived") == []
    assert latest.counts.unread_broadcasts == 2
    assert [frame["state"] for frame in changes.frames] == ["unread", "unread"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("many", [False, True])
def test_a_read_does_not_wait_for_an_inbox_that_another_has_locked(
    alice: User, bob: User, first_life: list[str], many: bool
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite locks no rows")
    old = pages.read_latest(Recipient.of(alice)).position
    new = Recipient.of(recreate(alice))
    wanted = [(new, old, 100), (Recipient.of(bob), None, 100)][: 1 + many]
    locked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                list(Inbox.objects.select_for_update().filter(pk=alice.pk))
                locked.set()
                assert go_on.wait(60)
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        holding = threads.submit(hold)
        assert locked.wait(60)
        masked = read_changes_of_many(wanted)[0]
        # A client at this position has all there is.
        again = read_changes_of_many([(new, masked.position, 100), *wanted[1:]])[0]
        assert AccountEnded.objects.pending().exists()
        go_on.set()
        holding.result()

    assert (masked.resync, masked.counts.unread) == (True, 0)
    assert (again.resync, again.complete, again.frames) == (False, True, [])
    # Nor has it anything to reload after the end is finished.
    finished = read_changes_of_many([(new, masked.position, 100), *wanted[1:]])[0]
    assert not AccountEnded.objects.pending().exists()
    assert (finished.resync, finished.position) == (False, masked.position)


# --- What deletes accounts without a signal, or does not delete them


def test_a_new_account_finds_nothing_of_one_that_ended_without_a_signal(
    alice: User, first_life: list[str], notify: Make
) -> None:
    notify(alice, "Key", idempotency_key="key")
    raw_delete(alice)
    new = create(alice)

    assert notify_accounts(new, "hello", "Key", idempotency_key="key").created == 1
    assert bodies(new) == []
    assert unread(new) == 0


def test_a_deletion_that_is_rolled_back_ends_nothing(alice: User, notify: Make) -> None:
    notify(alice, "Hello")

    with transaction.atomic():
        delete(alice)
        transaction.set_rollback(True)

    assert bodies(alice) == ["Hello"]


@pytest.mark.parametrize("save", ["save", "force_update"])
def test_saving_an_account_without_having_read_it_ends_nothing(
    alice: User, notify: Make, save: str
) -> None:
    notify(alice, "Hello")
    same = User(pk=alice.pk, username="renamed", date_joined=alice.date_joined)

    same.save(force_update=save == "force_update")

    assert bodies(same) == ["Hello"]


# --- Rows that are committed late


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_finished", [False, True])
def test_a_row_that_commits_after_the_deletion_is_of_the_old_life(
    alice: User, is_finished: bool
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    inserted, go_on = threading.Event(), threading.Event()

    def notify_late() -> None:
        try:
            with transaction.atomic():
                notify_accounts(alice, "hello", "Late", idempotency_key="key")
                inserted.set()
                assert go_on.wait(60)
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        late = threads.submit(notify_late)
        assert inserted.wait(60)
        delete(alice)
        new = create(alice)
        if is_finished:
            Inbox.objects.create(account=new)
            assert unread(new) == 0
            assert not AccountEnded.objects.pending().exists()
        # It neither waits for the old row nor is skipped by it.
        assert notify_accounts(new, "hello", "New", idempotency_key="key").created == 1
        go_on.set()
        late.result()

    numbering.number_and_publish([new.pk], "default")
    assert bodies(new) == ["New"]
    assert unread(new) == 1
    Maintenance().run(full=True)
    assert Notification.objects.count() == 1


# --- The sweep


def test_the_sweep_deletes_earlier_lives_and_no_rows_of_the_new_account(
    alice: User, first_life: list[str], notify: Make
) -> None:
    new = recreate(alice)
    notify_accounts(new, "hello", "New")

    Maintenance().run(full=True)

    assert bodies(new) == ["New"]
    assert Notification.objects.count() == 1
    assert not BroadcastReceipt.objects.exists()
    assert Maintenance().run(full=True).accounts_swept == 0


def test_rows_without_a_signal_are_deleted_by_the_sweep_but_not_those_of_the_next_account(
    alice: User, first_life: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is created while its key's old rows are being swept."""
    raw_delete(alice)
    finish = lives._finish

    def finish_after_creation(account_ids: list[Any], using: str, until: float) -> None:
        notify_accounts(create(alice), "hello", "New")
        numbering.number_and_publish([alice.pk], "default")
        finish(account_ids, using, until)

    monkeypatch.setattr(lives, "_finish", finish_after_creation)

    Maintenance().run(full=True)

    assert bodies(User.objects.get()) == ["New"]
    assert Notification.objects.count() == 1
    assert Inbox.objects.get().unread == 1


def test_an_old_position_is_not_followed_after_the_sweep(
    given_keys: None, alice: User, first_life: list[str], notify: Make
) -> None:
    old = pages.read_latest(Recipient.of(alice)).position
    delete(alice)
    Maintenance().run(full=True)
    assert not Notification.objects.exists()
    assert Maintenance().run(full=True) == Report()

    new = create(alice)
    for n in range(old.seq):
        notify(new, f"New {n}")

    assert read_changes(Recipient.of(new), old, 100).resync


def test_a_registration_ends_only_what_was_there_before_it(
    alice: User, bob: User, notify: Make
) -> None:
    """Another one may succeed meanwhile, and what it writes has later ids."""
    last = notify(alice, "Old")
    notify(bob, "Later")
    raw_delete(alice)

    create(alice)

    assert f"n{AccountEnded.objects.get().notifications_upto}" == last


def test_many_ended_accounts_are_swept_together(
    make_account: Callable[..., User],
    commit: Commit,
    django_assert_max_num_queries: Any,
) -> None:
    accounts = [make_account(f"account{n}") for n in range(50)]
    with commit():
        notify_accounts(accounts, "hello", "Hello")
    User.objects.filter(pk__in=[account.pk for account in accounts]).delete()

    lives.finish_pending("default", until=0)
    assert Notification.objects.count() == 50  # there was no time

    with django_assert_max_num_queries(70):
        assert Maintenance().run(full=True).accounts_swept == 50
    assert not Notification.objects.exists()
    assert not Inbox.objects.exists()


# --- Rows that are older than their account: neither end nor beginning was announced


@pytest.fixture
def older(given_keys: None, alice: User, first_life: list[str]) -> User:
    """Alice's key has another account now, which no signal announced."""
    Notification.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    raw_delete(alice)
    User.objects.bulk_create([User(pk=alice.pk, username="other")])
    return User.objects.get()


def test_a_read_hides_rows_that_are_older_than_the_account(
    older: User, notify: Make, commit: Commit, caplog: pytest.LogCaptureFixture
) -> None:
    notify(older, "New", idempotency_key="key")
    position = pages.read_latest(Recipient.of(older)).position
    with commit():
        for folder in ("inbox", "unread", "archived"):
            assert bodies(older, folder) == []
        assert unread(older) == 0

    assert bodies(older) == ["New"]
    assert unread(older) == 1
    assert read_changes(Recipient.of(older), position, 100).resync
    assert not Notification.objects.unnumbered().exists()
    assert f"account {older.pk} " in caplog.text
    assert not notify_accounts(older, "hello", "New", idempotency_key="key").created


def test_their_idempotency_keys_do_not_count(older: User, commit: Commit) -> None:
    Notification.objects.filter(body="Old 0").update(idempotency_key="key")

    for created in (1, 0):
        with commit():
            result = notify_accounts(older, "hello", "New", idempotency_key="key")
        assert result.created == created
    with commit():
        assert bodies(older) == []

    assert not notify_accounts(older, "hello", "New", idempotency_key="key").created
    assert bodies(older) == ["New"]


def test_the_sweep_hides_them_and_retention_deletes_them(older: User, settings: Any) -> None:
    assert Maintenance().run(full=True).inboxes_with_older_rows == 1
    assert Maintenance().run(full=True).inboxes_with_older_rows == 0
    assert not Notification.objects.present().exists()

    settings.NOTIFICATIONS_RETENTION_DAYS = 0

    Maintenance().run(full=True)
    assert not Notification.objects.exists()


def test_rows_older_than_an_account_with_an_automatic_key_are_its_own(
    alice: User, notify: Make
) -> None:
    """Its time of creation was changed: the database gives no key twice."""
    notify(alice, "Hello")
    Notification.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    User.objects.update(date_joined=timezone.now())
    alice.refresh_from_db()

    for _ in range(2):
        assert bodies(alice) == ["Hello"]
        assert Maintenance().run(full=True) == Report()


def test_a_time_of_creation_that_was_changed_deletes_nothing_at_once(
    given_keys: None, alice: User, notify: Make
) -> None:
    notify(alice, "Hello", idempotency_key="key")
    Notification.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    alice.date_joined = timezone.now()
    alice.save()
    assert bodies(alice) == []

    Maintenance().run(full=True)

    row = Notification.objects.get()
    assert row.removed_at


@pytest.mark.parametrize("difference", [timedelta(seconds=0.5), timedelta(days=10)])
def test_a_clock_that_is_a_little_ahead_or_a_future_time_hides_nothing(
    given_keys: None, alice: User, notify: Make, difference: timedelta
) -> None:
    notify(alice, "Hello")
    created = Notification.objects.get().created_at
    User.objects.update(date_joined=created + difference)
    alice.refresh_from_db()

    assert bodies(alice) == ["Hello"]
    Maintenance().run(full=True)
    assert bodies(alice) == ["Hello"]
