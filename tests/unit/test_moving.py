"""Merging accounts: `move_inbox` leaves nothing behind, and the receiving inbox whole."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from notifications import amove_inbox, move_inbox, notify_accounts
from notifications.audiences import Recipient
from notifications.inbox import marks, pages
from notifications.inbox.changes import read_changes
from notifications.lifecycle import moving
from notifications.maintenance import Maintenance
from notifications.models import BroadcastReceipt, Inbox, Notification, State
from tests.unit.conftest import Make, Published

pytestmark = pytest.mark.django_db


def bodies(account: User, folder: pages.Folder = "inbox") -> list[str]:
    page = pages.read_page(Recipient.of(account), folder=folder)
    return [item["content"]["body"] for item in page.items]


def counts(account: User) -> tuple[int, int]:
    found = pages.read_latest(Recipient.of(account)).counts
    return found.unread, found.unread_broadcasts


def check_numbers(account: User) -> None:
    """The inbox counts its unread rows, and no two rows have the same numbers."""
    mine = Notification.objects.filter(account=account)
    receipts = BroadcastReceipt.objects.filter(account=account)
    seqs = [*mine.values_list("seq", flat=True), *receipts.values_list("seq", flat=True)]
    inbox = Inbox.objects.get(pk=account.pk)
    assert len(set(seqs)) == len(seqs)
    assert max(seqs, default=0) <= inbox.seq
    assert inbox.unread == mine.unread().count()


@pytest.mark.parametrize("step", [1, 1000])
def test_everything_is_moved_in_its_state_and_outlives_the_deletion(
    alice: User,
    bob: User,
    notify: Make,
    send: Make,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    monkeypatch.setattr(moving, "ROWS_PER_TRANSACTION", step)
    notify(alice, "Alice's")
    unread, read, archived = (notify(bob, f"Bob's {name}") for name in ("one", "two", "three"))
    news = [send("Read"), send("Archived"), send("Unread")]
    marks.mark(Recipient.of(bob), "read", [read, news[0]])
    marks.mark(Recipient.of(bob), "archived", [archived, news[1]])
    notify_accounts(bob, "hello", "Unnumbered")

    assert move_inbox(bob, alice) == 6

    own = [body for body in bodies(alice) if body not in {"Read", "Unread"}]
    assert own == ["Unnumbered", "Bob's two", "Bob's one", "Alice's"]
    assert bodies(alice, "archived") == ["Archived", "Bob's three"]
    assert counts(alice) == (3, 1)
    assert counts(bob) == (0, 3)
    numbers = Notification.objects.order_by("number").values_list("number", flat=True)
    assert list(numbers) == [1, 2, 3, 4, 5]
    check_numbers(alice)
    bob.delete()
    Maintenance().run(full=True)
    assert Notification.objects.filter(account=alice).count() == 5
    assert BroadcastReceipt.objects.filter(account=alice).count() == 2
    assert counts(alice) == (3, 1)


def test_moved_rows_may_be_older_than_the_account_that_receives_them(
    bob: User, notify: Make, make_account: Any
) -> None:
    notify(bob, "Old")
    yesterday = timezone.now() - timedelta(days=1)
    Notification.objects.update(created_at=yesterday)
    User.objects.filter(pk=bob.pk).update(date_joined=yesterday)
    young = make_account("young")

    move_inbox(bob.pk, young.pk)

    assert bodies(young) == ["Old"]
    bob.delete()
    Maintenance().run(full=True)
    assert bodies(young) == ["Old"]


def test_of_two_receipts_for_a_broadcast_the_further_state_stays(
    alice: User, bob: User, send: Make
) -> None:
    read, archived, both = send("One"), send("Two"), send("Three")
    marks.mark(Recipient.of(alice), "read", [archived, both])
    marks.mark(Recipient.of(bob), "read", [read, both])
    marks.mark(Recipient.of(bob), "archived", [archived])

    move_inbox(bob, alice)

    assert bodies(alice, "archived") == ["Two"]
    assert counts(alice) == (0, 0)
    assert BroadcastReceipt.objects.count() == 3
    check_numbers(alice)


def test_idempotency_keys_count_for_the_other_account(alice: User, bob: User, notify: Make) -> None:
    notify(alice, "Hello", idempotency_key="both")
    notify(bob, "Hello", idempotency_key="both")
    notify(bob, "Hello", idempotency_key="bob's")

    move_inbox(bob, alice)

    for key in ("both", "bob's"):
        assert notify_accounts(alice, "hello", "Again", idempotency_key=key).skipped == 1
    assert counts(alice) == (3, 0)


def test_keys_of_a_second_life_are_moved_into_a_second_life(
    alice: User, bob: User, notify: Make
) -> None:
    for account in (alice, bob):
        notify(account, "Old", idempotency_key="old")
        User.objects.get(pk=account.pk).delete()
        User.objects.create(pk=account.pk, username=account.username)
    notify(bob, "Hello", idempotency_key="new")

    move_inbox(bob, alice)

    assert bodies(alice) == ["Hello"]
    assert notify_accounts(alice, "hello", "Again", idempotency_key="new").skipped == 1
    assert notify_accounts(alice, "hello", "Again", idempotency_key="old").created == 1


@pytest.mark.parametrize("newer", ["alice", "bob"])
def test_of_two_rows_with_a_replace_key_the_newer_one_stays(
    alice: User, bob: User, notify: Make, newer: str
) -> None:
    order = [bob, alice] if newer == "alice" else [alice, bob]
    for account in order:
        notify(account, account.username, replace_key="progress")

    move_inbox(bob, alice)

    assert bodies(alice) == [newer]
    assert counts(alice) == (1, 0)
    check_numbers(alice)
    notify(alice, "Done", replace_key="progress")
    assert bodies(alice) == ["Done"]


def test_clients_of_both_accounts_reload(
    alice: User, bob: User, notify: Make, published: Published
) -> None:
    notify(alice, "Alice's")
    notify(bob, "Bob's")
    positions = [pages.read_latest(Recipient.of(one)).position for one in (alice, bob)]
    published.clear()

    move_inbox(bob, alice)

    for account, position in zip((alice, bob), positions, strict=True):
        assert read_changes(Recipient.of(account), position, 100).resync
    entries = [entry for _, message in published for entry in message["entries"]]
    assert sorted((entry["account"], entry["seq"]) for entry in entries) == [
        (str(alice.pk), 2),
        (str(bob.pk), 2),
    ]


def test_an_inbox_is_moved_twice_without_harm(alice: User, bob: User, notify: Make) -> None:
    notify(bob, "Bob's")

    assert [move_inbox(bob, alice), move_inbox(bob, alice)] == [1, 0]
    assert move_inbox(alice, bob) == 1
    assert bodies(bob) == ["Bob's"]
    assert bodies(alice) == []


@pytest.mark.django_db(transaction=True)
def test_it_is_refused_in_a_transaction(alice: User, bob: User) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="transactions of its own"):
        move_inbox(bob, alice)


def test_its_errors_name_what_is_wrong(alice: User, bob: User) -> None:
    with pytest.raises(ValueError, match="different accounts"):
        move_inbox(alice, alice.pk)
    with pytest.raises(ValueError, match="none with primary key 12345"):
        move_inbox(alice, 12345)


async def test_in_an_event_loop_it_names_its_twin(alice: User, bob: User) -> None:
    with pytest.raises(RuntimeError, match="await amove_inbox"):
        move_inbox(bob, alice)


@pytest.mark.django_db(transaction=True)
async def test_the_twin_moves_in_an_event_loop(alice: User, bob: User) -> None:
    assert await amove_inbox(bob, alice) == 0


@pytest.mark.django_db(transaction=True)
def test_moves_and_marks_in_all_directions_at_once_lose_nothing(alice: User, bob: User) -> None:
    notify_accounts([alice, bob], "hello", "One")
    together = threading.Barrier(3)

    def run(work: Any) -> None:
        try:
            together.wait(60)
            for _ in range(5):
                work()
        finally:
            connection.close()

    with ThreadPoolExecutor() as threads:
        for done in [
            threads.submit(run, lambda: move_inbox(alice, bob)),
            threads.submit(run, lambda: move_inbox(bob, alice)),
            threads.submit(run, lambda: notify_accounts([alice, bob], "hello", "More")),
        ]:
            done.result()

    assert Notification.objects.filter(seq__isnull=False).count() == 12
    assert {row.state for row in Notification.objects.all()} == {State.UNREAD}
    for account in (alice, bob):
        check_numbers(account)
