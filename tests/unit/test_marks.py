"""Marks in an inbox, and undoing them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications import broadcast, notify_accounts, protocol
from notifications.audiences import Recipient
from notifications.channel_layer import sender
from notifications.inbox import marks
from notifications.inbox.marks import ChangeRange, MarkError, mark, mark_all, undo
from notifications.inbox.pages import read_latest, read_page
from notifications.lifecycle import retraction
from notifications.models import Broadcast, BroadcastReceipt, Inbox, Notification

from .conftest import Make, Published
from .views.requests import post

pytestmark = pytest.mark.django_db


@pytest.fixture
def recipient(alice: User) -> Recipient:
    return Recipient.of(alice)


@pytest.fixture
def states(recipient: Recipient) -> Callable[..., list[str]]:
    def states(*wire_ids: str) -> list[str]:
        found = {}
        for row in Notification.objects.filter(account_id=recipient.account_id):
            found[row.wire_id] = str(row.state)
        for news in Broadcast.objects.all():
            found[news.wire_id] = "unread"
        for receipt in BroadcastReceipt.objects.filter(account_id=recipient.account_id):
            found[receipt.wire_id] = str(receipt.state)
        return [found[wire_id] for wire_id in wire_ids]

    return states


@pytest.fixture
def frames_of(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> Callable[[Callable[[], Any]], list[protocol.Frame]]:
    """Return the frames that a call publishes once it is committed."""

    def frames_of(call: Callable[[], Any]) -> list[protocol.Frame]:
        messages = Published()
        with monkeypatch.context() as patch:
            patch.setattr(sender, "publish", messages.publish)
            with django_capture_on_commit_callbacks(execute=True):
                call()
                assert not messages, "published before the commit"
        return [
            {**json.loads(entry["text"]), "entry": entry}
            for _, message in messages
            for entry in message["entries"]
        ]

    return frames_of


def counts(recipient: Recipient) -> tuple[int, int]:
    found = read_latest(recipient).counts
    # The count of notifications is a column: it must agree with the rows.
    assert (
        found.unread
        == Notification.objects.filter(account_id=recipient.account_id).unread().count()
    )
    return found.unread, found.unread_broadcasts


# --- Marks


@pytest.mark.parametrize(
    ("path", "state", "unread"),
    [
        (["read"], "read", 0),
        (["unread"], "unread", 1),
        (["inbox"], "unread", 1),
        (["archived"], "archived", 0),
        (["read", "unread"], "unread", 1),
        (["read", "archived"], "archived", 0),
        (["archived", "inbox"], "unread", 1),  # as it was before
        (["read", "archived", "inbox"], "read", 0),
        (["archived", "read"], "archived", 0),  # only once it is back in the inbox
        (["archived", "unread"], "archived", 0),
        (["archived", "inbox", "read", "archived", "inbox"], "read", 0),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else None,
)
def test_an_item_goes_from_state_to_state(
    recipient: Recipient,
    alice: User,
    notify: Make,
    send: Make,
    states: Any,
    path: list[str],
    state: str,
    unread: int,
) -> None:
    both = [notify(alice), send()]

    for name in path:
        mark(recipient, name, both)

    assert states(*both) == [state, state]
    assert counts(recipient) == (unread, unread)
    listed = [item["id"] for item in read_page(recipient).items]
    assert sorted(listed) == ([] if state == "archived" else sorted(both))


def test_every_changed_item_gets_a_number_and_all_tabs_are_updated(
    recipient: Recipient, alice: User, notify: Make, send: Make, frames_of: Any
) -> None:
    one, two, news = notify(alice), notify(alice), send()
    other_news = send()

    (frame,) = frames_of(lambda: mark(recipient, "read", [news, one, one]))

    assert Inbox.objects.get().seq == 4
    assert Notification.objects.get(pk=one[1:]).seq == 3
    assert Notification.objects.get(pk=one[1:]).number == 1
    assert BroadcastReceipt.objects.get().seq == 4
    assert (frame["type"], frame["as"], frame["ids"]) == ("state", "read", [one, news])
    assert (frame["seq"], frame["unread"], frame["unread_broadcasts"]) == (4, 1, 1)
    entry = frame["entry"]
    assert (entry["account"], entry["first"], entry["seq"]) == (str(alice.pk), 3, 4)
    # The hub uses the count of broadcasts only for a connection at this position.
    assert (entry["counted_at"], entry["unread"], entry["unread_broadcasts"]) == (2, 1, 1)
    assert (two, other_news) != (one, news)


def test_the_answer_names_what_changed(
    recipient: Recipient, alice: User, notify: Make, send: Make
) -> None:
    one, two, news = notify(alice), notify(alice), send()
    mark(recipient, "read", [one])

    marked = mark(recipient, "read", [one, two, news])

    assert marked.ids == [two, news]
    assert marked.change_range == ChangeRange("read", 4, 5)
    assert marked.change_range.as_dict() == {"as": "read", "from": 4, "seq": 5}
    assert (marked.latest.counts.unread, marked.latest.counts.unread_broadcasts) == (0, 0)


def test_a_mark_that_changes_nothing_publishes_nothing(
    recipient: Recipient, alice: User, notify: Make, frames_of: Any
) -> None:
    wire_id = notify(alice)
    mark(recipient, "read", [wire_id])
    results = []

    assert frames_of(lambda: results.append(mark(recipient, "read", [wire_id]))) == []
    assert frames_of(lambda: results.append(mark(recipient, "read", []))) == []
    assert [(result.change_range, result.ids) for result in results] == [(None, [])] * 2
    assert Inbox.objects.get().seq == 2


def test_an_account_without_an_inbox_can_mark(recipient: Recipient) -> None:
    assert mark(recipient, "read", ["n1", "b1"]).change_range is None
    assert mark_all(recipient, "read", 5, 5).change_range is None
    assert undo(recipient, ChangeRange("read", 1, 5)).change_range is None


def test_ids_of_other_accounts_are_treated_as_unknown(
    recipient: Recipient, alice: User, bob: User, notify: Make, send: Make, states: Any
) -> None:
    own, others = notify(alice), notify(bob)
    for_staff = send(audience="staff")
    before = Notification.objects.filter(pk=others[1:]).values().get()

    marked = mark(recipient, "archived", [own, others, for_staff, "n999999", "b999999"])

    assert marked.ids == [own]
    assert Notification.objects.filter(pk=others[1:]).values().get() == before
    assert not BroadcastReceipt.objects.exists()
    assert Inbox.objects.get(pk=bob.pk).seq == 1


def test_each_account_has_its_own_receipt(
    recipient: Recipient, bob: User, send: Make, states: Any
) -> None:
    news = send()
    mark(Recipient.of(bob), "archived", [news])

    mark(recipient, "read", [news])

    assert states(news) == ["read"]
    assert BroadcastReceipt.objects.get(account=bob).state == "archived"
    assert [item["state"] for item in read_page(recipient).items] == ["read"]
    mark(recipient, "unread", [news])
    assert BroadcastReceipt.objects.filter(account_id=recipient.account_id).count() == 1
    assert counts(recipient) == (0, 1)


def test_removed_and_unnumbered_items_cannot_be_marked(
    recipient: Recipient, alice: User, notify: Make, send: Make
) -> None:
    unmarkable = [notify(alice, expires_at=timezone.now()), send(expires_at=timezone.now())]
    retraction.expire("default")
    unmarkable.append(f"n{notify_accounts(alice, 'hello', 'Unnumbered').ids[0]}")
    unmarkable.append(broadcast("news", "Unnumbered").wire_id)

    for name in marks.MARKS:
        assert mark(recipient, name, unmarkable).ids == []
    assert mark_all(recipient, "archived", 100, 100).ids == []
    assert counts(recipient) == (0, 0)


def test_a_mark_in_a_rolled_back_transaction_is_not_published(
    recipient: Recipient, alice: User, notify: Make, states: Any, frames_of: Any
) -> None:
    wire_id = notify(alice)

    def roll_back() -> None:
        with pytest.raises(RuntimeError), transaction.atomic():
            mark(recipient, "read", [wire_id])
            raise RuntimeError

    assert frames_of(roll_back) == []
    assert states(wire_id) == ["unread"]
    assert counts(recipient) == (1, 0)


def test_marking_many_items_takes_as_many_queries_as_marking_few(
    recipient: Recipient, alice: User, notify: Make, send: Make
) -> None:
    def queries(wire_ids: list[str]) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert len(mark(recipient, "read", wire_ids).ids) == len(wire_ids)
        return len(queries)

    few = queries([notify(alice), send()])
    many = queries([make() for _ in range(10) for make in (lambda: notify(alice), send)])

    assert many == few


# --- All up to a position


def test_marking_all_leaves_later_items(
    recipient: Recipient,
    alice: User,
    bob: User,
    notify: Make,
    send: Make,
    states: Any,
    frames_of: Any,
) -> None:
    seen, seen_news = [notify(alice), notify(alice)], [send(), send()]
    others = notify(bob)
    position = read_latest(recipient).position
    later, later_news = notify(alice), send()

    (frame,) = frames_of(lambda: mark_all(recipient, "read", position.seq, position.broadcast_seq))

    assert states(*seen, *seen_news) == ["read"] * 4
    assert states(later, later_news) == ["unread"] * 2
    assert Notification.objects.get(pk=others[1:]).state == "unread"
    assert counts(recipient) == (1, 1)
    # A range, for clients that have not loaded all items.
    assert frame["range"] == {"from": 4, "seq": 7, "upto": {"seq": 2, "broadcast_seq": 2}}
    assert (frame["as"], frame["seq"], frame["entry"]["first"]) == ("read", 7, 4)
    assert "ids" not in frame


def test_an_item_that_changed_after_the_position_stays(
    recipient: Recipient, alice: User, notify: Make, states: Any
) -> None:
    wire_id = notify(alice)
    position = read_latest(recipient).position
    mark(recipient, "read", [wire_id])
    mark(recipient, "unread", [wire_id])

    mark_all(recipient, "read", position.seq, position.broadcast_seq)

    assert states(wire_id) == ["unread"]


def test_all_can_be_archived(
    recipient: Recipient, alice: User, notify: Make, send: Make, states: Any
) -> None:
    wire_ids = [notify(alice), notify(alice), send(), send()]
    mark(recipient, "read", wire_ids[::2])

    marked = mark_all(recipient, "archived", 100, 100)

    assert sorted(marked.ids) == sorted(wire_ids)
    assert states(*wire_ids) == ["archived"] * 4
    assert counts(recipient) == (0, 0)


def test_archived_items_stay_archived_when_all_are_marked_as_read(
    recipient: Recipient, alice: User, notify: Make, send: Make, states: Any
) -> None:
    archived = [notify(alice), send()]
    mark(recipient, "archived", archived)

    assert mark_all(recipient, "read", 100, 100).ids == []
    assert states(*archived) == ["archived"] * 2


@pytest.mark.parametrize("name", ["unread", "inbox", "gone", ""])
def test_all_can_only_be_read_or_archived(recipient: Recipient, name: str) -> None:
    with pytest.raises(MarkError, match=f"as must be one of read, archived; not '{name}'"):
        mark_all(recipient, name, 1, 1)


# --- Undo


@pytest.mark.parametrize(
    ("before", "name"),
    [
        ([], "read"),
        ([], "archived"),
        (["read"], "unread"),
        (["read"], "archived"),
        (["archived"], "inbox"),
        (["read", "archived"], "inbox"),
    ],
)
def test_every_mark_can_be_undone_and_done_again(
    recipient: Recipient,
    alice: User,
    notify: Make,
    send: Make,
    states: Any,
    before: list[str],
    name: str,
) -> None:
    both = [notify(alice), send()]
    other = [notify(alice), send()]
    for earlier in before:
        mark(recipient, earlier, both)
    was, was_counted = states(*both), counts(recipient)
    marked = mark(recipient, name, both)
    is_now = states(*both)
    assert is_now != was
    assert marked.change_range

    undone = undo(recipient, marked.change_range)
    assert (states(*both), counts(recipient)) == (was, was_counted)
    assert sorted(undone.ids) == sorted(both)

    assert undone.change_range
    undo(recipient, undone.change_range)
    assert states(*both) == is_now
    assert states(*other) == ["unread"] * 2


def test_undoing_a_range_brings_each_item_back_to_its_state(
    recipient: Recipient, alice: User, notify: Make, send: Make, states: Any, frames_of: Any
) -> None:
    wire_ids = [notify(alice), notify(alice), send(), send()]
    mark(recipient, "read", wire_ids[::2])
    marked = mark_all(recipient, "archived", 100, 100)
    assert marked.change_range

    frames = frames_of(lambda: undo(recipient, marked.change_range))

    assert states(*wire_ids) == ["read", "unread", "read", "unread"]
    assert counts(recipient) == (1, 1)
    # One frame per state, with consecutive numbers.
    assert {frame["as"]: sorted(frame["ids"]) for frame in frames} == {
        "read": sorted(wire_ids[::2]),
        "unread": sorted(wire_ids[1::2]),
    }
    steps = [(frame["entry"]["first"], frame["entry"]["seq"]) for frame in frames]
    assert steps == [(9, 10), (11, 12)]
    # The counts are those after the last number, so only its frame has them.
    assert [(frame.get("unread"), frame["entry"]["counted_at"]) for frame in frames] == [
        (None, None),
        (1, 2),
    ]


@pytest.mark.parametrize("more", [0, 160], ids=["one frame", "several frames"])
@pytest.mark.parametrize("reverse", ["inbox", "undo"])
def test_only_the_last_frame_of_a_change_has_counts(
    recipient: Recipient,
    alice: User,
    notify: Make,
    send: Make,
    frames_of: Any,
    reverse: str,
    more: int,
) -> None:
    """At the numbers before it, other items have changed: its counts would be wrong there."""
    was_read = [notify(alice), send()]
    items = [*was_read, notify(alice), send(), *(notify(alice) for _ in range(more))]
    mark(recipient, "read", was_read)
    change_range = mark(recipient, "archived", items).change_range
    assert change_range

    if reverse == "undo":
        frames = frames_of(lambda: undo(recipient, change_range))
    else:
        frames = frames_of(lambda: mark(recipient, "inbox", items))

    assert {frame["as"] for frame in frames} == {"read", "unread"}
    *earlier, last = frames
    assert_without_counts(earlier)
    assert (last["unread"], last["unread_broadcasts"]) == counts(recipient) == (1 + more, 1)
    assert last["seq"] == Inbox.objects.get().seq


def assert_without_counts(frames: list[protocol.Frame]) -> None:
    names = ("unread", "unread_broadcasts", "counted_at")
    for frame in frames:
        assert not frame.keys() & set(names)
        assert [frame["entry"][name] for name in names] == [None] * 3


def test_undo_leaves_items_that_changed_since(
    recipient: Recipient, alice: User, notify: Make, send: Make, states: Any
) -> None:
    changed, unchanged, news = notify(alice), notify(alice), send()
    marked = mark(recipient, "read", [changed, unchanged, news])
    mark(recipient, "archived", [changed, news])
    assert marked.change_range

    assert undo(recipient, marked.change_range).ids == [unchanged]
    assert states(changed, unchanged, news) == ["archived", "unread", "archived"]


def test_undo_touches_only_own_rows(
    recipient: Recipient, bob: User, notify: Make, send: Make
) -> None:
    others, news = notify(bob), send()
    marked = mark(Recipient.of(bob), "read", [others, news])
    assert marked.change_range

    assert undo(recipient, marked.change_range).ids == []
    assert Notification.objects.get().state == "read"
    assert BroadcastReceipt.objects.get().state == "read"


def test_undo_does_not_confuse_the_numbers_of_two_accounts(
    recipient: Recipient, alice: User, bob: User, notify: Make, send: Make, states: Any
) -> None:
    news = send()
    mark(Recipient.of(bob), "read", [news])  # his number 1
    own = notify(alice)  # her number 1
    mark(recipient, "read", [news])

    assert undo(recipient, ChangeRange("read", 1, 1)).ids == []
    assert states(own, news) == ["unread", "read"]


# --- Many items: several transactions


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "ITEMS_PER_TRANSACTION", 2)


@pytest.mark.parametrize(("own", "news"), [(5, 5), (4, 4), (2, 0), (0, 3), (3, 1), (0, 0)])
@pytest.mark.parametrize("name", ["read", "archived"])
def test_all_of_many_items_are_marked_in_parts_and_undone(
    recipient: Recipient,
    alice: User,
    notify: Make,
    send: Make,
    states: Any,
    frames_of: Any,
    small_parts: None,
    own: int,
    news: int,
    name: str,
) -> None:
    items = [*(notify(alice) for _ in range(own)), *(send() for _ in range(news))]
    far_away = 2**62
    results = []

    frames = frames_of(lambda: results.append(mark_all(recipient, name, far_away, far_away)))

    assert states(*items) == [name] * len(items)
    assert sorted(results[0].ids) == sorted(items)
    assert counts(recipient) == (0, 0)
    assert_consecutive(frames, own + 1, own + len(items))
    if not items:
        return
    assert results[0].change_range == ChangeRange(name, own + 1, own + len(items))
    # A client applies each frame to what it has: at that time, not more was marked than that.
    reached = [frame["range"]["upto"] for frame in frames if "range" in frame]
    assert reached == sorted(reached, key=lambda upto: (upto["seq"], upto["broadcast_seq"]))
    assert all(upto["broadcast_seq"] == 0 for upto in reached if upto["seq"] < own)

    undone = undo(recipient, ChangeRange(name, 0, far_away))

    assert states(*items) == ["unread"] * len(items)
    assert sorted(undone.ids) == sorted(items)
    assert counts(recipient) == (own, news)


def assert_consecutive(frames: list[protocol.Frame], first: int, last: int) -> None:
    for frame in frames:
        assert frame["entry"]["first"] == first
        first = frame["entry"]["seq"] + 1
    assert first == last + 1


def test_items_that_arrive_between_two_parts_stay(
    recipient: Recipient,
    alice: User,
    notify: Make,
    states: Any,
    small_parts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [notify(alice) for _ in range(5)]
    between: list[str] = []
    in_short_transaction = marks.in_short_transaction

    def with_an_arrival(work: Any, using: str) -> Any:
        done = in_short_transaction(work, using)
        between.append(notify(alice))
        return done

    monkeypatch.setattr(marks, "in_short_transaction", with_an_arrival)
    marked = mark_all(recipient, "read", 2**62, 2**62)

    assert marked.ids == before
    assert states(*between) == ["unread"] * 3
    assert marked.change_range
    assert sorted(undo(recipient, marked.change_range).ids) == sorted(before)
    assert states(*between) == ["unread"] * len(between)


@pytest.fixture
def between_parts(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Let another device do something once, between the first two parts of the next mark."""
    in_short_transaction = marks.in_short_transaction

    def between_parts(change: Callable[[], Any]) -> None:
        def with_change(work: Any, using: str) -> Any:
            done = in_short_transaction(work, using)
            monkeypatch.setattr(marks, "in_short_transaction", in_short_transaction)
            change()
            return done

        monkeypatch.setattr(marks, "in_short_transaction", with_change)

    return between_parts


@pytest.mark.parametrize("name", ["read", "archived"])
def test_undoing_a_mark_in_parts_leaves_the_same_mark_of_another_device(
    recipient: Recipient,
    alice: User,
    notify: Make,
    send: Make,
    states: Any,
    small_parts: None,
    between_parts: Any,
    name: str,
) -> None:
    browser = Client()
    browser.force_login(alice)
    items = [*(notify(alice) for _ in range(3)), send(), send()]
    later = [notify(alice), send()]
    between_parts(lambda: mark(recipient, name, later))

    marked = post(browser, {"upto": {"seq": 3, "broadcast_seq": 2}, "as": name}).json()
    assert states(*items, *later) == [name] * 7
    assert marked["range"]["parts"] == [[5, 6], [9, 11]]
    undone = post(browser, {"undo": marked["range"]}).json()

    assert states(*items, *later) == ["unread"] * 5 + [name] * 2
    assert sorted(undone["ids"]) == sorted(items)
    assert "parts" not in undone["range"]  # nothing came in between


def test_a_broadcast_that_another_device_marks_between_two_parts_is_in_no_later_range(
    recipient: Recipient,
    send: Make,
    states: Any,
    frames_of: Any,
    small_parts: None,
    between_parts: Any,
) -> None:
    first, *others = [send() for _ in range(5)]
    between_parts(lambda: mark(recipient, "unread", [first]))

    frames = frames_of(lambda: mark_all(recipient, "read", 0, 5))

    assert states(first, *others) == ["unread"] + ["read"] * 4
    # A client applies a range to all it has up to a position: to the first broadcast as well.
    start, unread, *rest = frames
    assert start["range"]["upto"]["broadcast_seq"] == 2
    assert (unread["as"], unread["ids"]) == ("unread", [first])
    assert [(frame["as"], frame["ids"]) for frame in rest] == [
        ("read", others[1:3]),
        ("read", others[3:]),
    ]


def test_a_part_that_fails_leaves_the_earlier_ones(
    recipient: Recipient,
    alice: User,
    notify: Make,
    states: Any,
    frames_of: Any,
    small_parts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = [notify(alice) for _ in range(5)]
    change_part = marks._change_part
    calls = iter(range(3))

    def fail_the_second(*args: Any) -> Any:
        if next(calls) == 1:
            raise RuntimeError
        return change_part(*args)

    monkeypatch.setattr(marks, "_change_part", fail_the_second)

    def fail() -> None:
        with pytest.raises(RuntimeError):
            mark_all(recipient, "read", 5, 0)

    (frame,) = frames_of(fail)

    assert states(*items) == ["read"] * 2 + ["unread"] * 3
    assert frame["range"]["upto"] == {"seq": 2, "broadcast_seq": 0}
    assert counts(recipient) == (3, 0)


# --- Invalid marks


@pytest.mark.parametrize("name", ["", "gone", "Read", "delete", None, 1, ["read"]])
def test_an_unknown_mark_is_refused(recipient: Recipient, name: Any) -> None:
    allowed = "as must be one of read, unread, archived, inbox; not "

    with pytest.raises(MarkError) as refused:
        mark(recipient, name, [])
    assert str(refused.value) == f"{allowed}{name!r}"
    with pytest.raises(MarkError, match=allowed):
        undo(recipient, ChangeRange(name, 1, 2))


@pytest.mark.parametrize(
    "wire_id",
    ["", "n", "12", "x12", "n-1", "n1.5", "n 1", "n1\n", "n١", "N1", "n" + "1" * 19, 12, None],
    ids=repr,
)
def test_anything_but_an_id_is_refused(recipient: Recipient, wire_id: Any) -> None:
    with pytest.raises(MarkError) as refused:
        mark(recipient, "read", ["n1", wire_id])

    assert str(refused.value) == f"ids must hold ids of items, such as “n12”, not {wire_id!r}"


@pytest.mark.parametrize("ids", ["n1", {"n1": 1}, None, 5])
def test_ids_must_be_a_list(recipient: Recipient, ids: Any) -> None:
    with pytest.raises(MarkError, match="ids must be a list of 1000 ids at most, not ") as refused:
        mark(recipient, "read", ids)
    assert str(refused.value).endswith(repr(ids))


def test_more_ids_than_allowed_are_refused(recipient: Recipient) -> None:
    assert mark(recipient, "read", ["n999999999999999999"] * 1000).ids == []
    with pytest.raises(MarkError, match="a list of 1000 ids at most, not 1001 of them"):
        mark(recipient, "read", ["n1"] * 1001)
