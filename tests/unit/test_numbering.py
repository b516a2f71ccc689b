"""Committed rows become live updates: numbers, frames, replacing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from notifications import broadcast, notify_accounts, protocol
from notifications.audiences import Recipient
from notifications.channel_layer import addressing, hub_commands, sender
from notifications.inbox import marks, pages
from notifications.inbox.changes import read_changes
from notifications.lifecycle import numbering, publishing
from notifications.models import Broadcast, BroadcastSequence, Inbox, Notification
from notifications.protocol import CloseCode
from notifications.signals import broadcast_sent, notification_created

from .conftest import Commit, Published

pytestmark = pytest.mark.django_db


def bodies(published: Published) -> list[str]:
    return [frame["content"]["body"] for frame in published.frames]


def seqs(account: User) -> list[int | None]:
    return list(
        Notification.objects.filter(account=account).order_by("pk").values_list("seq", flat=True)
    )


# --- Numbers


def test_the_numbers_of_an_account_are_consecutive_in_the_order_of_the_calls(
    alice: User, bob: User, commit: Commit, published: Published
) -> None:
    for named in ([alice], [alice, bob], [alice]):
        with commit():
            notify_accounts(named, "hello", "Hello")

    assert seqs(alice) == [1, 2, 3]
    assert seqs(bob) == [1]
    assert [(frame["seq"], frame["number"], frame["unread"]) for frame in published.frames] == [
        (1, 1, 1),
        (2, 2, 2),
        (1, 1, 1),
        (3, 3, 3),
    ]


def test_a_frame_contains_all_fields(alice: User, commit: Commit, published: Published) -> None:
    with commit():
        notify_accounts(
            alice,
            "order_paid",
            "Paid",
            meta_data={"order_id": 12},
            url="/orders/12/",
            level="error",
        )

    row = Notification.objects.get()
    assert published.frames == [
        {
            "type": "order_paid",
            "content": {"body": "Paid", "meta_data": {"order_id": 12}},
            "id": f"n{row.pk}",
            "number": 1,
            "seq": 1,
            "unread": 1,
            "state": "unread",
            "level": "error",
            "url": "/orders/12/",
            "created_at": row.created_at.isoformat(),
            "expires_at": None,
            "replaces": None,
        }
    ]
    ((_, message),) = published
    (entry,) = message["entries"]
    assert (message["type"], entry["account"]) == ("notifications.push", str(alice.pk))
    assert (entry["first"], entry["seq"], entry["unread"]) == (1, 1, 1)
    assert (entry["counted_at"], entry["unread_broadcasts"]) == (None, None)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_numbered_or_published_before_the_commit(
    alice: User, published: Published
) -> None:
    with transaction.atomic():
        notify_accounts(alice, "hello", "Hello")
        notify_accounts(alice, "typing", "Typing", persist=False)
        broadcast("news", "News")
        assert seqs(alice) == [None]
        assert pages.read_page(Recipient.of(alice)).items == []
        assert not published

    assert seqs(alice) == [1]
    assert sorted(bodies(published)) == ["Hello", "News", "Typing"]


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_transaction_never_publishes_anything(
    alice: User, bob: User, published: Published
) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        notify_accounts(alice, "hello", "Never", idempotency_key="a")
        notify_accounts(alice, "typing", "Never", persist=False)
        broadcast("news", "Never")
        raise RuntimeError
    assert not published

    with transaction.atomic():
        transaction.on_commit(lambda: None)  # a hook of the site, before ours
        notify_accounts(bob, "hello", "Hello")

    assert bodies(published) == ["Hello"]
    # The next transaction did not number her account: that would have created an inbox.
    assert not Inbox.objects.filter(pk=alice.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_savepoint_loses_only_its_own_messages(
    alice: User, bob: User, published: Published
) -> None:
    with transaction.atomic():
        notify_accounts(alice, "hello", "Before")
        with pytest.raises(RuntimeError), transaction.atomic():
            notify_accounts([alice, bob], "hello", "Never")
            raise RuntimeError
        notify_accounts(alice, "hello", "After")

    assert bodies(published) == ["Before", "After"]
    assert seqs(alice) == [1, 2]
    assert not Inbox.objects.filter(pk=bob.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_when_only_the_first_call_is_rolled_back_the_second_is_numbered(
    alice: User, bob: User, published: Published
) -> None:
    with transaction.atomic():
        with pytest.raises(RuntimeError), transaction.atomic():
            notify_accounts(alice, "hello", "Never")
            raise RuntimeError
        notify_accounts(bob, "hello", "Hello")

    assert bodies(published) == ["Hello"]


@pytest.mark.django_db(transaction=True)
def test_a_hook_that_notifies_before_ours_has_run_loses_nothing(
    alice: User, bob: User, published: Published
) -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: notify_accounts(bob, "hello", "From a hook"))
        notify_accounts(alice, "hello", "From the transaction")

    assert sorted(bodies(published)) == ["From a hook", "From the transaction"]
    assert (seqs(alice), seqs(bob)) == ([1], [1])


@pytest.mark.django_db(transaction=True)
def test_a_hook_whose_own_transaction_is_rolled_back_loses_nothing_else(
    alice: User, bob: User, published: Published
) -> None:
    def notify_and_roll_back() -> None:
        with transaction.atomic():
            notify_accounts(bob, "hello", "Never")
            transaction.set_rollback(True)

    with transaction.atomic():
        transaction.on_commit(notify_and_roll_back)
        notify_accounts(alice, "hello", "Hello")

    assert bodies(published) == ["Hello"]
    assert not Inbox.objects.filter(pk=bob.pk).exists()


def test_many_calls_in_one_transaction_are_numbered_at_once(
    alice: User, bob: User, django_capture_on_commit_callbacks: Any
) -> None:
    def queries_after(calls: int) -> int:
        with django_capture_on_commit_callbacks() as callbacks:
            for _ in range(calls):
                notify_accounts([alice, bob], "hello", "Hello")
        with CaptureQueriesContext(connection) as queries:
            for callback in callbacks:
                callback()
        return len(queries)

    queries_after(1)  # makes the inboxes
    assert queries_after(1) == queries_after(5)
    assert seqs(alice) == seqs(bob) == [1, 2, 3, 4, 5, 6, 7]


def test_rows_are_numbered_in_the_order_of_their_ids(alice: User, published: Published) -> None:
    for body in ("one", "two", "three"):
        notify_accounts(alice, "hello", body)  # its hook never runs

    assert numbering.number_and_publish([alice.pk], "default") == 3

    assert seqs(alice) == [1, 2, 3]
    assert bodies(published) == ["one", "two", "three"]
    assert numbering.number_and_publish([alice.pk], "default") == 0
    assert len(published.frames) == 3


def test_a_row_left_unnumbered_by_a_crash_is_numbered_with_the_next_one(
    alice: User, commit: Commit, published: Published
) -> None:
    notify_accounts(alice, "hello", "Left behind")
    with commit():
        notify_accounts(alice, "hello", "Next")

    assert bodies(published) == ["Left behind", "Next"]


def test_many_accounts_are_numbered_in_several_transactions(
    alice: User, bob: User, carol: User, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbering, "ACCOUNTS_PER_TRANSACTION", 2)

    with commit():
        notify_accounts([alice, bob, carol], "hello", "Hello")

    assert Notification.objects.filter(seq=1).count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_failure_after_the_commit_does_not_reach_the_caller(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise OperationalError("the database went away")

    caplog.set_level(logging.CRITICAL, "django")  # it logs the failure, with a traceback
    with monkeypatch.context() as broken:
        broken.setattr(numbering, "in_short_transaction", fail)
        with transaction.atomic():
            result = notify_accounts(alice, "hello", "Hello")
            broadcast("news", "News")

    assert result.created == 1
    assert seqs(alice) == [None]
    # The next check numbers them.
    numbering.number_and_publish([alice.pk], "default")
    numbering.number_broadcasts("default")
    assert seqs(alice) == [1]
    assert Broadcast.objects.get().seq == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_notifications_get_each_number_once(alice: User, bob: User) -> None:
    together = threading.Barrier(4)

    def notify(order: int) -> None:
        try:
            together.wait(30)
            for _ in range(5):
                notify_accounts([alice.pk, bob.pk][::order], "hello", "Hello")
                marks.mark_all(Recipient.of(alice), "read", 1000, 1000)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(notify, [1, -1, 1, -1]))

    numbers = Notification.objects.filter(account=alice).values_list("number", flat=True)
    changes = Notification.objects.filter(account=alice).values_list("seq", flat=True)
    assert len(set(numbers)) == len(set(changes)) == 20
    # Each was changed twice: when it was created, and when it was read.
    inbox = Inbox.objects.get(pk=alice.pk)
    assert (inbox.seq, max(changes), inbox.unread) == (40, 40, 0)
    assert sorted(Notification.objects.filter(account=bob).values_list("seq", flat=True)) == list(
        range(1, 21)
    )


@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_inserted_first_and_committed_last_is_not_missed(alice: User) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: the second would wait for the first")
    first_inserted, second_committed = threading.Event(), threading.Event()
    recipient = Recipient.of(alice)
    start = pages.read_latest(recipient).position

    def first() -> None:
        try:
            with transaction.atomic():
                notify_accounts(alice.pk, "hello", "Began first")
                first_inserted.set()
                assert second_committed.wait(30)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(first)
        assert first_inserted.wait(30)
        notify_accounts(alice.pk, "hello", "Committed first")
        between = read_changes(recipient, start, 100)
        second_committed.set()
        ended.result(30)
    after = read_changes(recipient, between.position, 100)

    first_pk, second_pk = (
        Notification.objects.get(body=body).pk for body in ("Began first", "Committed first")
    )
    assert first_pk < second_pk  # by id, the first would be below the position of `between`
    assert [frame["content"]["body"] for frame in between.frames] == ["Committed first"]
    assert [frame["content"]["body"] for frame in after.frames] == ["Began first"]
    assert [frame["seq"] for frame in between.frames + after.frames] == [1, 2]


# --- Replacing


def test_a_newer_notification_replaces_the_unread_one(
    alice: User, commit: Commit, published: Published
) -> None:
    with commit():
        notify_accounts(alice, "progress", "10 %", replace_key="upload")
    with commit():
        notify_accounts(alice, "progress", "20 %", replace_key="upload")

    old, new = Notification.objects.order_by("pk")
    assert (old.state, old.seq, old.number) == ("gone", 2, 1)
    assert (new.state, new.seq, new.number, new.replaces) == ("unread", 3, 3, old.pk)
    assert Inbox.objects.get().unread == 1
    frame = published.frames[-1]
    assert (frame["replaces"], frame["seq"], frame["unread"]) == (f"n{old.pk}", 3, 1)
    # The update covers both numbers, so that it is the next one for a connection at 1.
    assert [entry["first"] for _, message in published for entry in message["entries"]] == [1, 2]


def test_only_the_last_of_several_in_one_transaction_stays(
    alice: User, commit: Commit, published: Published
) -> None:
    with commit():
        for body in ("10 %", "20 %", "30 %"):
            notify_accounts(alice, "progress", body, replace_key="upload")

    rows = list(Notification.objects.order_by("pk"))
    assert [row.state for row in rows] == ["gone", "gone", "unread"]
    assert [row.seq for row in rows] == [2, 4, 5]
    assert (Inbox.objects.get().seq, Inbox.objects.get().unread) == (5, 1)
    assert [frame["unread"] for frame in published.frames] == [1, 1, 1]
    entries = [entry for _, message in published for entry in message["entries"]]
    assert [(entry["first"], entry["seq"]) for entry in entries] == [(1, 1), (2, 3), (4, 5)]


def test_all_unread_notifications_with_the_key_are_replaced_and_named(
    alice: User, commit: Commit, published: Published
) -> None:
    for body in ("10 %", "20 %"):
        with commit():
            notify_accounts(alice, "progress", body, replace_key="upload")
        marks.mark(Recipient.of(alice), "read", [Notification.objects.latest("pk").wire_id])
    first, second = Notification.objects.order_by("pk")
    marks.mark(Recipient.of(alice), "unread", [first.wire_id, second.wire_id])
    published.clear()

    with commit():
        notify_accounts(alice, "progress", "30 %", replace_key="upload")

    removed, new = published.frames
    assert (removed["as"], removed["ids"]) == ("gone", [first.wire_id])
    assert (removed["seq"], removed["unread"]) == (7, 1)
    assert (new["replaces"], new["seq"], new["unread"]) == (second.wire_id, 9, 1)
    entries = [entry for _, message in published for entry in message["entries"]]
    assert [(entry["first"], entry["seq"]) for entry in entries] == [(7, 7), (8, 9)]


@pytest.mark.parametrize("mark", ["read", "archived"])
def test_a_read_or_archived_notification_is_not_replaced(
    alice: User, commit: Commit, mark: str
) -> None:
    with commit():
        notify_accounts(alice, "progress", "10 %", replace_key="upload")
    marks.mark(Recipient.of(alice), mark, [Notification.objects.get().wire_id])
    with commit():
        notify_accounts(alice, "progress", "20 %", replace_key="upload")

    assert not Notification.objects.filter(removed_at__isnull=False).exists()
    assert Inbox.objects.get().unread == 1


def test_nothing_with_another_key_or_of_another_account_is_replaced(
    alice: User, bob: User, commit: Commit
) -> None:
    for account, key in ((alice, "a"), (alice, "b"), (alice, None), (alice, None), (bob, "a")):
        with commit():
            notify_accounts(account, "hello", "Hello", replace_key=key)
    # Both accounts and both keys at once, but not every pair of them.
    with commit():
        notify_accounts(bob, "hello", "Hello", replace_key="b")
        notify_accounts(alice, "hello", "Hello", replace_key="a")

    removed = Notification.objects.filter(removed_at__isnull=False)
    assert [(row.account, row.replace_key) for row in removed] == [(alice, "a")]
    assert dict(Inbox.objects.values_list("account", "unread")) == {alice.pk: 4, bob.pk: 2}


@pytest.mark.django_db(transaction=True)
def test_concurrent_replacements_leave_one(alice: User) -> None:
    together = threading.Barrier(3)

    def notify(body: str) -> None:
        try:
            together.wait(30)
            for _ in range(5):
                notify_accounts(alice.pk, "hello", body, replace_key="a")
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(notify, "abc"))

    assert Notification.objects.filter(account=alice).unread().count() == 1
    assert Inbox.objects.get().unread == 1
    assert Inbox.objects.get().seq == 15 + 14


# --- Broadcasts


def test_all_broadcasts_share_one_sequence(commit: Commit, published: Published) -> None:
    group = Group.objects.create(name="Customers")
    with commit():
        for audience in ("everyone", "staff", group):
            broadcast("news", "News", audience=audience)

    rows = Broadcast.objects.order_by("pk")
    assert [(row.number, row.seq) for row in rows] == [(1, 1), (2, 2), (3, 3)]
    assert [(name, message["seq"], message["audience"]) for name, message in published] == [
        (protocol.HUBS_GROUP, 1, "everyone"),
        (protocol.HUBS_GROUP, 2, "staff"),
        (protocol.HUBS_GROUP, 3, f"group:{group.pk}"),
    ]
    assert [message["gone"] for _, message in published] == [False, False, False]
    frame = published.frames[0]
    assert (frame["id"], frame["number"], frame["broadcast_seq"]) == (f"b{rows[0].pk}", 1, 1)
    assert "unread" not in frame and "seq" not in frame


def test_without_new_broadcasts_their_sequence_is_not_locked(
    commit: Commit, django_assert_num_queries: Any
) -> None:
    with commit():
        broadcast("news", "News")

    # The query that every hub makes at each check.
    with django_assert_num_queries(1):
        assert numbering.number_broadcasts("default") == 0


@pytest.mark.django_db(transaction=True)
def test_concurrent_broadcasts_get_each_number_once() -> None:
    together = threading.Barrier(3)

    def send(body: str) -> None:
        try:
            together.wait(30)
            for _ in range(3):
                broadcast("news", body)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(send, "abc"))

    assert sorted(Broadcast.objects.values_list("seq", flat=True)) == list(range(1, 10))
    assert BroadcastSequence.objects.current().seq == 9


# --- Publishing


@pytest.fixture
def shared_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer with cheap groups, as with Redis."""
    monkeypatch.setattr(sender, "is_in_memory", lambda: False)


def steps(accounts: int, size: int = 10) -> list[publishing.LiveUpdate]:
    frame = protocol.frame("hello", "x" * size)
    return [publishing.live_update(n, 1, 1, frame) for n in range(accounts)]


def test_few_accounts_are_reached_by_their_own_groups(
    published: Published, shared_layer: None
) -> None:
    publishing.publish(steps(20))

    assert [name for name, _ in published] == [f"account_{n}" for n in range(20)]
    assert all(len(message["entries"]) == 1 for _, message in published)


def test_live_updates_of_one_account_share_an_envelope_in_order(
    published: Published, shared_layer: None
) -> None:
    frame = protocol.frame("hello")
    publishing.publish(
        [
            publishing.live_update(account, seq, seq, frame)
            for seq in (1, 2, 3)
            for account in (7, 8)
        ]
    )

    assert [
        (name, [entry["seq"] for entry in message["entries"]]) for name, message in published
    ] == [("account_7", [1, 2, 3]), ("account_8", [1, 2, 3])]


def test_many_accounts_are_reached_through_all_hubs_500_at_a_time(
    published: Published, shared_layer: None
) -> None:
    publishing.publish(steps(1001))

    assert {name for name, _ in published} == {protocol.HUBS_GROUP}
    assert [len(message["entries"]) for _, message in published] == [500, 500, 1]
    entries = [entry["account"] for _, message in published for entry in message["entries"]]
    assert entries == [str(n) for n in range(1001)]


def test_long_frames_are_spread_over_envelopes(published: Published, shared_layer: None) -> None:
    publishing.publish(steps(40, size=16 * 1024))

    sizes = [sum(len(entry["text"]) for entry in message["entries"]) for _, message in published]
    assert len(sizes) > 1
    assert max(sizes) <= addressing.MAX_ENVELOPE_SIZE + 17 * 1024


def test_the_in_memory_layer_has_one_group_for_all_accounts(published: Published) -> None:
    publishing.publish(steps(1))
    publishing.publish_frame([1], protocol.frame("typing"))

    assert [name for name, _ in published] == [protocol.HUBS_GROUP] * 2


def test_without_live_updates_nothing_is_sent(published: Published) -> None:
    publishing.publish([])

    assert not published


def test_a_frame_without_a_row_carries_no_number(
    alice: User, bob: User, commit: Commit, published: Published
) -> None:
    with commit():
        notify_accounts([alice, bob], "typing", "Typing", meta_data=[1], url="/", persist=False)

    ((_, message),) = published
    assert message["type"] == "notifications.frames"
    assert [set(entry) for entry in message["entries"]] == [{"account", "text"}] * 2
    assert published.frames[0] == {
        "type": "typing",
        "content": {"body": "Typing", "meta_data": [1]},
        "level": "info",
        "url": "/",
    }


def test_every_hub_is_asked_to_close_connections(published: Published) -> None:
    hub_commands.close_connections(["a", "b"], CloseCode.EVICTED)

    ((name, message),) = published
    assert name == protocol.HUBS_GROUP
    assert (message["type"], message["connections"]) == ("notifications.close", ["a", "b"])
    assert message["code"] == 4409


# --- Signals


@pytest.fixture
def listen() -> Any:
    connected = []

    def connect(signal: Any, receiver: Callable[..., None]) -> None:
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.mark.filterwarnings("default")
def test_signals_are_sent_for_each_row_after_its_commit(
    alice: User, bob: User, commit: Commit, listen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[Any] = []

    def fail(**kwargs: Any) -> None:
        raise RuntimeError("a receiver fails")

    def take_notification(notification: Notification, **kwargs: Any) -> None:
        received.append((notification.account_id, notification.seq))

    def take_broadcast(broadcast: Broadcast, **kwargs: Any) -> None:
        received.append(broadcast.body)

    caplog.set_level(logging.CRITICAL, "django")
    for signal, receiver in (
        (notification_created, fail),
        (notification_created, take_notification),
        (broadcast_sent, fail),
        (broadcast_sent, take_broadcast),
    ):
        listen(signal, receiver)

    with commit():
        notify_accounts([alice, bob], "hello", "Hello")
        notify_accounts(alice, "typing", "Typing", persist=False)
        broadcast("news", "News")
        assert not received

    assert received == [(alice.pk, 1), (bob.pk, 1), "News"]
