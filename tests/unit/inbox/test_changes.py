"""The changes after a position."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import notifications.inbox.changes
import notifications.inbox.pages
from notifications.audiences import Recipient
from notifications.inbox import marks
from notifications.inbox.changes import Changes, read_changes, read_changes_of_many
from notifications.inbox.pages import (
    Position,
    latest_seqs,
    read_latest,
    read_latest_of_many,
    read_page,
)
from notifications.lifecycle import numbering, retraction
from notifications.models import (
    BroadcastReceipt,
    BroadcastSequence,
    BroadcastSequenceQuerySet,
    Inbox,
    Notification,
)
from tests.unit.conftest import Make

from .reading import ids, pages, recipient_of

pytestmark = pytest.mark.django_db


def start(recipient: Recipient) -> Position:
    return Position(0, 0, 1, recipient.audience_hash)


def outline(changes: Changes) -> list[tuple[Any, ...]]:
    """Return the frames in short: new items with their id, states with their ids."""
    return [
        (frame["as"], frame["ids"]) if frame["type"] == "state" else (frame["type"], frame["id"])
        for frame in changes.frames
    ]


def test_without_changes_there_are_no_frames(alice: User) -> None:
    recipient = recipient_of(alice)

    changes = read_changes(recipient, start(recipient), 10)

    assert (changes.frames, changes.complete, changes.resync) == ([], True, False)
    assert changes.position == start(recipient)


def test_new_items_arrive_in_full_and_known_ones_as_states(
    alice: User, bob: User, notify: Make, send: Make
) -> None:
    recipient = recipient_of(alice)
    known, known_news = notify(alice), send()
    position = read_latest(recipient).position
    new, new_read, news = notify(alice), notify(alice), send()
    notify(bob)
    send(audience="staff")
    marks.mark(recipient, "read", [known, known_news, new_read])

    changes = read_changes(recipient, position, 100)

    assert outline(changes) == [
        ("hello", new),
        ("hello", new_read),
        ("read", [known]),
        ("read", [known_news]),
        ("news", news),
    ]
    assert [frame.get("state") for frame in changes.frames] == [
        *("unread", "read"),
        *(None, None),
        "unread",
    ]
    assert [frame.get("seq") for frame in changes.frames] == [2, 3, 4, 6, None]
    # It has its own number, and the state of a later change.
    assert [frame.get("changed") for frame in changes.frames] == [None, 5, None, None, None]
    assert changes.frames[-1]["broadcast_seq"] == 2
    assert changes.position == read_latest(recipient).position
    assert (changes.counts.unread, changes.counts.unread_broadcasts) == (1, 1)
    # The counts at that time are unknown, so the frames have none.
    assert not any("unread" in frame or "unread_broadcasts" in frame for frame in changes.frames)


def test_each_change_has_its_own_number(alice: User, notify: Make, send: Make) -> None:
    recipient = recipient_of(alice)
    one, two, three, four, news = *(notify(alice) for _ in range(4)), send()
    position = read_latest(recipient).position
    marks.mark(recipient, "read", [one, two])
    marks.mark(recipient, "archived", [three])
    marks.mark(recipient, "read", [four, news])

    changes = read_changes(recipient, position, 100)

    assert outline(changes) == [
        ("read", [one]),
        ("read", [two]),
        ("archived", [three]),
        ("read", [four]),
        ("read", [news]),
    ]
    # Otherwise marking all up to a number in between would seem not to include it.
    assert [frame["seq"] for frame in changes.frames] == [5, 6, 7, 8, 9]


def test_an_item_that_changed_twice_arrives_once_in_its_latest_state(
    alice: User, notify: Make
) -> None:
    recipient = recipient_of(alice)
    wire_id = notify(alice)
    position = read_latest(recipient).position
    for mark in ("read", "archived", "inbox", "unread"):
        marks.mark(recipient, mark, [wire_id])

    changes = read_changes(recipient, position, 100)

    assert outline(changes) == [("unread", [wire_id])]
    assert changes.frames[0]["seq"] == changes.position.seq == 5


def test_a_new_item_that_was_removed_arrives_only_as_removed(
    alice: User, notify: Make, send: Make
) -> None:
    recipient = recipient_of(alice)
    news, old = (
        send(expires_at=timezone.now()),
        notify(alice, expires_at=timezone.now()),
    )
    retraction.expire("default")

    assert outline(read_changes(recipient, start(recipient), 100)) == [
        ("gone", [old]),
        ("gone", [news]),
    ]


def test_a_replacement_names_what_it_replaces(alice: User, notify: Make) -> None:
    recipient = recipient_of(alice)
    old = notify(alice, replace_key="a")
    position = read_latest(recipient).position
    new = notify(alice, replace_key="a")

    changes = read_changes(recipient, position, 100)

    assert outline(changes) == [("gone", [old]), ("hello", new)]
    assert changes.frames[1]["replaces"] == old


def follow(
    recipient: Recipient, position: Position, limit: int, size: float = math.inf
) -> list[dict[str, Any]]:
    """Return all frames from a position to the latest, read in parts."""
    frames: list[dict[str, Any]] = []
    while True:
        (changes,) = read_changes_of_many([(recipient, position, limit)], size)
        assert len(changes.frames) <= limit
        assert sum(len(change.text) for change in changes.encoded[:-1]) < size
        for frame in changes.frames:
            assert frame.get("seq", 0) <= changes.position.seq
            assert frame.get("broadcast_seq", 0) <= changes.position.broadcast_seq
        frames += changes.frames
        if changes.complete:
            assert changes.position == read_latest(recipient).position
            return frames
        assert changes.position != position
        position = changes.position


def states_of(frames: list[dict[str, Any]], known: Iterable[str]) -> dict[str, str]:
    """Return the items that a client has after these frames, each with its state."""
    states = dict.fromkeys(known, "unread")
    early: dict[str, str] = {}
    for frame in frames:
        if frame["type"] != "state":
            assert frame["id"] not in states, "sent twice"
            states[frame["id"]] = early.get(frame["id"], frame["state"])
        for wire_id in frame.get("ids", []):
            target = states if wire_id in states else early
            target[wire_id] = frame["as"]
    return {wire_id: state for wire_id, state in states.items() if state != "gone"}


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 100])
@pytest.mark.parametrize("size", [1, 400, math.inf])
def test_reading_in_parts_loses_and_repeats_nothing(
    alice: User, notify: Make, send: Make, limit: int, size: float
) -> None:
    recipient = recipient_of(alice)
    known = [notify(alice) for _ in range(3)]
    position = read_latest(recipient).position
    new = [notify(alice) for _ in range(3)]
    news = [send() for _ in range(4)]
    send(audience="staff")
    replaced, kept = notify(alice, replace_key="a"), notify(alice, replace_key="a")
    # A later part must not mistake a new item that was read immediately for a known one.
    marks.mark(recipient, "read", [*known, new[0], new[1], news[0]])
    marks.mark(recipient, "unread", [new[1]])

    frames = follow(recipient, position, limit, size)

    assert states_of(frames, known) == {
        **dict.fromkeys([*known, new[0], news[0]], "read"),
        **dict.fromkeys([new[1], new[2], *news[1:], kept], "unread"),
    }
    assert replaced not in ids([frame for frame in frames if "id" in frame])
    for name in ("seq", "broadcast_seq"):
        numbers = [frame[name] for frame in frames if name in frame]
        assert numbers == sorted(set(numbers))
    shown = [frame["number"] for frame in frames if "number" in frame and "seq" in frame]
    assert shown == sorted(shown)


def test_new_items_read_on_another_device_arrive_in_full(alice: User, notify: Make) -> None:
    recipient = recipient_of(alice)
    new = [notify(alice) for _ in range(6)]
    marks.mark_all(recipient, "read", 6, 0)

    # In parts of four: the second begins beyond the numbers of all six.
    frames = follow(recipient, start(recipient), 4)

    assert states_of(frames, []) == dict.fromkeys(new, "read")


def test_a_change_after_the_latest_position_was_read_hides_nothing_new(
    alice: User, notify: Make, send: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipient = recipient_of(alice)
    one, two, news = notify(alice), notify(alice), send()
    can_follow = notifications.inbox.changes._can_follow

    def while_reading(*args: Any) -> bool:
        monkeypatch.undo()
        marks.mark(recipient, "read", [one, news])
        return can_follow(*args)

    monkeypatch.setattr("notifications.inbox.changes._can_follow", while_reading)
    before = read_changes(recipient, start(recipient), 100)
    after = read_changes(recipient, before.position, 100)

    assert outline(before) == [("hello", one), ("hello", two), ("news", news)]
    assert before.position.seq == 2  # without the later changes, including the receipt
    assert outline(after) == [("read", [one]), ("read", [news])]


def test_a_broadcast_after_the_latest_position_was_read_does_not_count_yet(
    alice: User, bob: User, send: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For one account it is a single query."""
    send()
    current = BroadcastSequenceQuerySet.current

    def while_reading(rows: BroadcastSequenceQuerySet) -> BroadcastSequence:
        monkeypatch.undo()
        sequence = current(rows)
        send()
        return sequence

    monkeypatch.setattr(BroadcastSequenceQuerySet, "current", while_reading)
    for latest in read_latest_of_many([recipient_of(alice), recipient_of(bob)]):
        # The client adds one for each broadcast after `broadcast_seq`.
        assert (latest.position.broadcast_seq, latest.counts.unread_broadcasts) == (1, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epoch": 2},
        {"epoch": 0},
        {"scope": ""},
        {"scope": "0123456789ab"},
        {"seq": 3},
        {"seq": -1},
        {"broadcast_seq": 2},
        {"broadcast_seq": -1},
    ],
    ids=str,
)
def test_a_client_at_an_invalid_position_has_to_reload(
    alice: User, notify: Make, send: Make, wrong: dict[str, Any]
) -> None:
    notify(alice)
    notify(alice)
    send()
    recipient = recipient_of(alice)
    right = {"seq": 1, "broadcast_seq": 0, "epoch": 1, "scope": recipient.audience_hash}
    assert not read_changes(recipient, Position(**right), 10).resync

    changes = read_changes(recipient, Position(**{**right, **wrong}), 10)

    assert (changes.resync, changes.frames) == (True, [])
    # The client continues from there.
    assert changes.position == Position(2, 1, 1, recipient.audience_hash)
    assert (changes.counts.unread, changes.counts.unread_broadcasts) == (2, 1)


def test_a_client_below_the_retention_floor_has_to_reload(
    alice: User, notify: Make, send: Make
) -> None:
    for _ in range(3):
        notify(alice)
        send()
    Inbox.objects.update(floor=2)
    BroadcastSequence.objects.update(floor=1)
    recipient = recipient_of(alice)

    def resync(seq: int, broadcast_seq: int) -> bool:
        return read_changes(
            recipient, Position(seq, broadcast_seq, 1, recipient.audience_hash), 10
        ).resync

    assert [resync(1, 3), resync(2, 3), resync(3, 0), resync(3, 1)] == [True, False, True, False]


def test_a_client_that_is_too_far_behind_has_to_reload(
    alice: User, notify: Make, send: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.inbox.changes.MAX_CHANGES", 2)
    for _ in range(3):
        notify(alice)
        send()
    recipient = recipient_of(alice)

    def resync(seq: int, broadcast_seq: int) -> bool:
        return read_changes(
            recipient, Position(seq, broadcast_seq, 1, recipient.audience_hash), 10
        ).resync

    assert [resync(0, 3), resync(1, 3), resync(3, 0), resync(3, 1)] == [True, False, True, False]


def test_after_a_change_of_epoch_a_client_has_to_reload(alice: User, notify: Make) -> None:
    notify(alice)
    recipient = recipient_of(alice)
    position = read_latest(recipient).position
    BroadcastSequence.objects.lock()
    BroadcastSequence.objects.update(epoch=2)

    changes = read_changes(recipient, position, 10)

    assert (changes.resync, changes.position.epoch) == (True, 2)


def test_many_changes_take_as_many_queries_as_few(alice: User, notify: Make, send: Make) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            read_changes(recipient, start(recipient), 100)
        return len(queries)

    recipient = recipient_of(alice)
    marks.mark(recipient, "read", [notify(alice), send()])
    few = queries()
    for _ in range(10):
        marks.mark(recipient, "read", [notify(alice), send()])

    assert queries() == few < 10


def test_receipts_of_another_account_are_no_changes(
    alice: User, bob: User, notify: Make, send: Make
) -> None:
    news = send()
    marks.mark(recipient_of(bob), "archived", [news])
    recipient = recipient_of(alice)

    assert BroadcastReceipt.objects.count() == 1
    changes = read_changes(recipient, start(recipient), 10)
    assert outline(changes) == [("news", news)]
    assert [frame["state"] for frame in (*changes.frames, *read_page(recipient).items)] == [
        "unread",
        "unread",
    ]
    assert pages(recipient, 10) == pages(recipient, 10, folder="unread") == [[news]]
    assert pages(recipient_of(bob), 10) == [[]]


def test_the_latest_numbers_of_many_accounts_take_two_queries(
    alice: User, bob: User, carol: User, django_assert_num_queries: Any
) -> None:
    for account, count in ((alice, 3), (bob, 1)):
        Notification.objects.bulk_create(
            Notification(account=account, type="hello", body=str(n)) for n in range(count)
        )
    numbering.number_and_publish([alice.pk, bob.pk], "default")

    with django_assert_num_queries(2):
        seqs, broadcasts = latest_seqs([alice.pk, bob.pk, carol.pk])

    assert (seqs, broadcasts.seq) == ({alice.pk: 3, bob.pk: 1}, 0)


def test_changes_of_many_are_those_of_each(
    alice: User, bob: User, carol: User, notify: Make, send: Make, monkeypatch: Any
) -> None:
    monkeypatch.setattr("notifications.inbox.changes.ACCOUNTS_PER_QUERY", 2)
    wire_ids = [notify(account) for account in (alice, alice, bob, carol, carol)]
    wire_ids += [send(), send(audience="staff"), send()]
    recipients = [recipient_of(account) for account in (alice, bob, carol)]
    for recipient in recipients:
        marks.mark(recipient, "read", wire_ids[1::2])
    marks.mark(recipients[0], "archived", wire_ids[-1:])
    wanted = [
        (recipient, replace(latest.position, seq=max(0, latest.position.seq - n), broadcast_seq=m))
        for recipient, latest in zip(recipients, read_latest_of_many(recipients), strict=True)
        for n, m in ((0, 3), (1, 3), (2, 1), (9, 0), (-1, 0))
    ]

    for limit in (1, 2, 100):
        together = read_changes_of_many([(*pair, limit) for pair in wanted])

        assert together == [
            read_changes(recipient, position, limit) for recipient, position in wanted
        ]
    assert [changes.resync for changes in together] == 3 * [False, False, False, False, True]


def test_counts_that_a_change_overtakes_are_read_again(
    alice: User, bob: User, send: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of several accounts are read by several queries, with others' changes in between."""
    one = send()
    send()
    recipients = [recipient_of(account) for account in (alice, bob)]
    count = notifications.inbox.pages._count_unread_broadcasts

    def mark_and_count(*args: Any) -> list[int]:
        monkeypatch.undo()
        marks.mark(recipients[0], "read", [one])
        return count(*args)

    monkeypatch.setattr("notifications.inbox.pages._count_unread_broadcasts", mark_and_count)

    alices, bobs = read_changes_of_many([(recipient, None, 10) for recipient in recipients])

    assert (alices.position.seq, alices.complete) == (0, False)
    assert (bobs.counts.unread_broadcasts, bobs.complete) == (2, True)
    wanted = [(recipients[0], alices.position, 10), (recipients[1], bobs.position, 10)]
    again = read_changes_of_many(wanted)[0]
    assert (again.position.seq, again.complete, again.counts.unread_broadcasts) == (1, True, 1)
    assert outline(again) == [("read", [one])]
