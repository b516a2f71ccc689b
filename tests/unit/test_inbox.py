"""What an account sees: pages, counts, changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import notifications.changes
from notifications import audiences, broadcast, delivery, marks, notify_accounts, withdrawal
from notifications.audiences import Reader
from notifications.changes import Changes, read_changes, read_changes_of_many
from notifications.inbox import (
    Cursor,
    newest_seqs,
    read_head,
    read_heads,
    read_page,
)
from notifications.models import (
    Broadcast,
    BroadcastHead,
    BroadcastHeadQuerySet,
    BroadcastReceipt,
    Inbox,
    Notification,
)

pytestmark = pytest.mark.django_db

Notify = Callable[..., str]


@pytest.fixture
def notify(django_capture_on_commit_callbacks: Any) -> Notify:
    """Put a notification in an inbox, numbered; return its id on the wire."""

    def notify(account: User, body: str = "Hello", **options: Any) -> str:
        with django_capture_on_commit_callbacks(execute=True):
            (pk,) = notify_accounts(account, "hello", body, **options).ids
        return f"n{pk}"

    return notify


@pytest.fixture
def send(django_capture_on_commit_callbacks: Any) -> Notify:
    """Send a broadcast, numbered; return its id on the wire."""

    def send(body: str = "News", **options: Any) -> str:
        with django_capture_on_commit_callbacks(execute=True):
            return broadcast("news", body, **options).wire_id

    return send


def reader_of(account: User) -> Reader:
    return Reader.of(User.objects.get(pk=account.pk))


def ids(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["id"] for frame in frames]


def pages(reader: Reader, limit: int, **options: Any) -> list[list[str]]:
    """Return the ids of all pages, read to the end."""
    found = []
    before = None
    while True:
        page = read_page(reader, before, limit=limit, **options)
        found.append(ids(page.items))
        assert len(found) < 100, "pages without end"
        before = page.next
        if before is None:
            return found


# --- Pages


def test_an_empty_inbox_is_one_empty_page(alice: User) -> None:
    page = read_page(reader_of(alice))

    assert (page.items, page.next) == ([], None)
    assert page.head.as_dict() == {
        "seq": 0,
        "broadcast_seq": 0,
        "epoch": 1,
        "scope": reader_of(alice).scope,
        "unread": 0,
        "unread_broadcasts": 0,
    }


def test_both_kinds_are_merged_newest_first(
    alice: User, bob: User, notify: Notify, send: Notify
) -> None:
    sent = [notify(alice), send(), notify(alice), notify(bob), send(), send(audience="staff")]
    del sent[5], sent[3]

    assert pages(reader_of(alice), 10) == [sent[::-1]]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 30])
def test_no_item_is_lost_or_doubled_from_page_to_page(
    alice: User, notify: Notify, send: Notify, limit: int
) -> None:
    # Runs of one kind longer than a page, and both kinds in turn.
    sent = [notify(alice) for _ in range(4)]
    sent += [send() for _ in range(5)]
    for _ in range(3):
        sent += [notify(alice), send()]

    found = pages(reader_of(alice), limit)

    assert [wire_id for page in found for wire_id in page] == sent[::-1]
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert 0 < len(found[-1]) <= limit


def test_clocks_that_disagree_lose_and_double_nothing(
    alice: User, notify: Notify, send: Notify
) -> None:
    wire_ids = {notify(alice) for _ in range(6)} | {send() for _ in range(6)}
    now = timezone.now()
    for model in (Notification, Broadcast):
        for row in model.objects.all():
            # Neither ascending nor unique.
            model.objects.filter(pk=row.pk).update(
                created_at=now + timedelta(hours=row.number * 5 % 3)
            )

    found = [wire_id for page in pages(reader_of(alice), 2) for wire_id in page]

    assert sorted(found) == sorted(wire_ids)
    for kind in "nb":
        own = [int(wire_id[1:]) for wire_id in found if wire_id[0] == kind]
        assert own == sorted(own, reverse=True)  # within a kind, the number is the order


def test_what_arrives_between_two_pages_shifts_nothing(
    alice: User, notify: Notify, send: Notify
) -> None:
    sent = [notify(alice), send(), notify(alice), send()]
    reader = reader_of(alice)
    first = read_page(reader, limit=2)

    notify(alice)
    send()
    second = read_page(reader, first.next, limit=2)

    assert ids(first.items) + ids(second.items) == sent[::-1]
    assert second.next is None


def test_the_unread_page_has_only_unread_items(alice: User, notify: Notify, send: Notify) -> None:
    read, unread, archived = (notify(alice) for _ in range(3))
    read_news, unread_news, archived_news = (send() for _ in range(3))
    reader = reader_of(alice)
    marks.mark(reader, "read", [read, read_news])
    marks.mark(reader, "archived", [archived, archived_news])

    assert pages(reader, 1, view="unread") == [[unread_news], [unread]]
    assert pages(reader, 10) == [[unread_news, read_news, unread, read]]


def test_the_archived_page_has_only_archived_items(
    alice: User, bob: User, notify: Notify, send: Notify
) -> None:
    _inbox, read, archived, taken_out = (notify(alice) for _ in range(4))
    _news, archived_news = send(), send()
    reader = reader_of(alice)
    marks.mark(reader, "read", [read])
    marks.mark(reader, "archived", [archived, archived_news, taken_out])
    marks.mark(reader, "inbox", [taken_out])

    assert pages(reader, 1, view="archived") == [[archived_news], [archived]]
    assert {item["state"] for item in read_page(reader, view="archived").items} == {"archived"}
    assert pages(reader_of(bob), 1, view="archived") == [[]]


def test_important_are_unread_broadcasts_of_level_warning_or_error(
    alice: User, notify: Notify, send: Notify
) -> None:
    notify(alice, level="error")
    send(level="info")
    send(level="success")
    warning, error, read, archived = (
        send(level=level) for level in ("warning", "error", "error", "error")
    )
    send(level="error", expires_at=timezone.now())
    withdrawal.expire("default")
    reader = reader_of(alice)
    marks.mark(reader, "read", [read])
    marks.mark(reader, "archived", [archived])

    assert pages(reader, 10, view="important") == [[error, warning]]


def test_items_say_in_which_state_they_are(alice: User, notify: Notify, send: Notify) -> None:
    wire_ids = [notify(alice), notify(alice), send(), send()]
    marks.mark(reader_of(alice), "read", wire_ids[::2])

    items = read_page(reader_of(alice)).items

    assert [(item["id"], item["state"]) for item in items] == [
        (wire_ids[3], "unread"),
        (wire_ids[2], "read"),
        (wire_ids[1], "unread"),
        (wire_ids[0], "read"),
    ]


def test_what_is_gone_or_not_yet_numbered_is_on_no_page(
    alice: User, notify: Notify, send: Notify
) -> None:
    notify(alice, expires_at=timezone.now())
    send(expires_at=timezone.now())
    notify(alice, replace_key="a")
    kept = notify(alice, replace_key="a")
    withdrawal.expire("default")
    notify_accounts(alice, "hello", "Unnumbered")
    broadcast("news", "Unnumbered")

    assert pages(reader_of(alice), 10) == [[kept]]


def test_a_page_takes_as_many_queries_however_long_it_is(
    alice: User, notify: Notify, send: Notify
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            read_page(reader)
        return len(queries)

    reader = reader_of(alice)
    notify(alice)
    send()
    short = queries()
    for _ in range(10):
        notify(alice)
        marks.mark(reader, "read", [send()])

    assert queries() == short < 10


@pytest.mark.parametrize(
    "before",
    ["x", "n1", "b1", "n1b1 ", "n1b1\n", "n-1b1", "n١b1", "b1n1", "n1b" + "9" * 19, "n1b1\x00"],
)
def test_a_made_up_position_is_refused(alice: User, before: str) -> None:
    with pytest.raises(ValueError, match="before must be the “next” of another page"):
        read_page(reader_of(alice), before)


@pytest.mark.parametrize("before", ["n0b0", "n" + "9" * 18 + "b" + "9" * 18])
def test_any_position_that_looks_right_is_taken(
    alice: User, notify: Notify, send: Notify, before: str
) -> None:
    notify(alice)
    send()

    assert len(read_page(reader_of(alice), before).items) in {0, 2}


# --- Audiences


def test_a_broadcast_is_in_the_inboxes_of_its_audience(
    alice: User, bob: User, operator: User, send: Notify
) -> None:
    group = Group.objects.create(name="Customers")
    other = Group.objects.create(name="Others")
    alice.groups.add(group)
    bob.groups.add(group, other)
    everyone, staff = send(), send(audience="staff")
    customers, others = send(audience=group), send(audience=other)

    assert pages(reader_of(alice), 10) == [[customers, everyone]]
    assert pages(reader_of(bob), 10) == [[others, customers, everyone]]
    assert pages(reader_of(operator), 10) == [[staff, everyone]]


def test_an_audience_is_its_active_accounts(alice: User, bob: User, operator: User) -> None:
    group = Group.objects.create(name="Customers")
    group.user_set.add(alice, bob)
    User.objects.filter(pk=bob.pk).update(is_active=False)

    found = {
        key: sorted(account.username for account in audiences.accounts_in(key))
        for key in ("everyone", "staff", f"group:{group.pk}", "group:999")
    }

    assert found == {
        "everyone": ["alice", "operator"],
        "staff": ["operator"],
        f"group:{group.pk}": ["alice"],
        "group:999": [],
    }


def test_accounts_of_another_kind_may_have_no_staff_and_no_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As an account, a Group has none of the fields: is_active, is_staff, groups.
    monkeypatch.setattr(audiences, "get_user_model", lambda: Group)
    group = Group.objects.create(name="Not an account, but as good")

    assert list(audiences.accounts_in("everyone")) == [group]
    assert list(audiences.accounts_in("staff")) == []
    assert list(audiences.accounts_in(f"group:{group.pk}")) == []


def test_an_older_broadcast_is_not_for_a_newer_account(
    alice: User, make_account: Callable[..., User], send: Notify
) -> None:
    old = send()
    erin = make_account("erin")
    new = send()

    assert pages(reader_of(alice), 10) == [[new, old]]
    assert pages(reader_of(erin), 10) == [[new]]
    assert read_head(reader_of(erin)).counts.unread_broadcasts == 1


def test_the_site_may_name_another_field_of_creation(
    alice: User, send: Notify, settings: Any
) -> None:
    news = send()
    User.objects.filter(pk=alice.pk).update(last_login=timezone.now())

    settings.NOTIFICATIONS_ACCOUNT_CREATED_FIELD = "last_login"
    assert pages(reader_of(alice), 10) == [[]]
    settings.NOTIFICATIONS_ACCOUNT_CREATED_FIELD = "no_such_field"
    assert pages(reader_of(alice), 10) == [[news]]


def test_a_reader_knows_which_pushed_broadcasts_are_for_it(alice: User, send: Notify) -> None:
    reader = reader_of(alice)
    later, earlier = (alice.date_joined + timedelta(seconds=n) for n in (1, -1))

    assert reader.gets("everyone", later)
    assert reader.gets("everyone", alice.date_joined)
    assert not reader.gets("everyone", earlier)
    assert not reader.gets("staff", later)


def test_the_scope_names_the_audiences(alice: User, bob: User) -> None:
    one, other = (Group.objects.create(name=name) for name in ("One", "Other"))
    assert reader_of(alice).scope == reader_of(bob).scope
    alice.groups.add(one, other)
    bob.groups.add(other)

    assert reader_of(alice).scope != reader_of(bob).scope
    bob.groups.add(one)
    assert reader_of(alice).scope == reader_of(bob).scope
    bob.is_staff = True
    bob.save()
    assert reader_of(alice).scope != reader_of(bob).scope


# --- Heads and counts


def test_the_head_tells_where_the_inbox_stands(
    alice: User, bob: User, notify: Notify, send: Notify
) -> None:
    wire_ids = [notify(alice), notify(alice), send(), send(audience="staff"), notify(bob)]
    reader = reader_of(alice)
    marks.mark(reader, "read", [wire_ids[0]])

    head = read_head(reader)
    assert head.cursor == Cursor(3, 2, 1, reader.scope)
    assert (head.counts.unread, head.counts.unread_broadcasts, head.counts.total) == (1, 1, 2)
    head = read_head(reader_of(bob))
    assert (head.cursor.seq, head.cursor.broadcast_seq, head.counts.total) == (1, 2, 2)


def test_a_broadcast_not_yet_numbered_does_not_count(alice: User, send: Notify) -> None:
    send()
    broadcast("news", "Unnumbered")

    assert read_head(reader_of(alice)).counts.unread_broadcasts == 1


def test_heads_of_many_count_as_the_head_of_one_does(
    alice: User, bob: User, carol: User, operator: User, send: Notify
) -> None:
    alice.groups.add(Group.objects.create(name="editors"))
    accounts = (alice, bob, carol, operator)
    sent = [send(audience=audience) for audience in ("everyone", "staff", "everyone")]
    sent += [send(audience=group) for group in Group.objects.all()] + [send()]
    marks.mark(reader_of(alice), "read", sent)
    marks.mark(reader_of(bob), "archived", sent[:1])
    marks.mark(reader_of(operator), "read", sent[:3])
    marks.mark(reader_of(operator), "unread", sent[:1])
    # What was read stays read, and has no longer to be: alice left the group, and bob's
    # account seems to be younger than what he archived.
    alice.groups.clear()
    User.objects.filter(pk=bob.pk).update(date_joined=Broadcast.objects.latest("pk").created_at)

    readers = [reader_of(account) for account in accounts]
    counts = [head.counts.unread_broadcasts for head in read_heads(readers)]

    assert counts == [0, 1, 3, 2]
    assert counts == [read_head(reader).counts.unread_broadcasts for reader in readers]
    assert counts == [len(read_page(reader, view="unread").items) for reader in readers]


# --- Changes


def start(reader: Reader) -> Cursor:
    return Cursor(0, 0, 1, reader.scope)


def told(changes: Changes) -> list[tuple[Any, ...]]:
    """Return what the frames tell: new items by id, states with their ids."""
    return [
        (frame["as"], frame["ids"]) if frame["type"] == "state" else (frame["type"], frame["id"])
        for frame in changes.frames
    ]


def test_nothing_happened(alice: User) -> None:
    reader = reader_of(alice)

    changes = read_changes(reader, start(reader), 10)

    assert (changes.frames, changes.complete, changes.resync) == ([], True, False)
    assert changes.cursor == start(reader)


def test_what_is_new_comes_whole_and_what_changed_as_its_state(
    alice: User, bob: User, notify: Notify, send: Notify
) -> None:
    reader = reader_of(alice)
    known, known_news = notify(alice), send()
    cursor = read_head(reader).cursor
    new, new_read, news = notify(alice), notify(alice), send()
    notify(bob)
    send(audience="staff")
    marks.mark(reader, "read", [known, known_news, new_read])

    changes = read_changes(reader, cursor, 100)

    assert told(changes) == [
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
    # At its own number, with the state of a later one.
    assert [frame.get("changed") for frame in changes.frames] == [None, 5, None, None, None]
    assert changes.frames[-1]["broadcast_seq"] == 2
    assert changes.cursor == read_head(reader).cursor
    assert (changes.counts.unread, changes.counts.unread_broadcasts) == (1, 1)
    # Counts of then are not known: the frames carry none.
    assert not any("unread" in frame or "unread_broadcasts" in frame for frame in changes.frames)


def test_each_change_has_its_own_number(alice: User, notify: Notify, send: Notify) -> None:
    reader = reader_of(alice)
    one, two, three, four, news = *(notify(alice) for _ in range(4)), send()
    cursor = read_head(reader).cursor
    marks.mark(reader, "read", [one, two])
    marks.mark(reader, "archived", [three])
    marks.mark(reader, "read", [four, news])

    changes = read_changes(reader, cursor, 100)

    assert told(changes) == [
        ("read", [one]),
        ("read", [two]),
        ("archived", [three]),
        ("read", [four]),
        ("read", [news]),
    ]
    # Told with a later one, it would seem untouched by a mark of all up to a number in between.
    assert [frame["seq"] for frame in changes.frames] == [5, 6, 7, 8, 9]


def test_what_changed_twice_comes_once_in_its_present_state(alice: User, notify: Notify) -> None:
    reader = reader_of(alice)
    wire_id = notify(alice)
    cursor = read_head(reader).cursor
    for mark in ("read", "archived", "inbox", "unread"):
        marks.mark(reader, mark, [wire_id])

    changes = read_changes(reader, cursor, 100)

    assert told(changes) == [("unread", [wire_id])]
    assert changes.frames[0]["seq"] == changes.cursor.seq == 5


def test_what_came_and_went_is_only_told_to_be_gone(
    alice: User, notify: Notify, send: Notify
) -> None:
    reader = reader_of(alice)
    news, old = (
        send(expires_at=timezone.now()),
        notify(alice, expires_at=timezone.now()),
    )
    withdrawal.expire("default")

    assert told(read_changes(reader, start(reader), 100)) == [("gone", [old]), ("gone", [news])]


def test_a_replacement_is_told_with_what_it_replaces(alice: User, notify: Notify) -> None:
    reader = reader_of(alice)
    old = notify(alice, replace_key="a")
    cursor = read_head(reader).cursor
    new = notify(alice, replace_key="a")

    changes = read_changes(reader, cursor, 100)

    assert told(changes) == [("gone", [old]), ("hello", new)]
    assert changes.frames[1]["replaces"] == old


def follow(reader: Reader, cursor: Cursor, limit: int) -> list[dict[str, Any]]:
    """Return the frames of all parts that a client reads from `cursor` to the end."""
    frames: list[dict[str, Any]] = []
    while True:
        changes = read_changes(reader, cursor, limit)
        assert len(changes.frames) <= limit
        for frame in changes.frames:
            assert frame.get("seq", 0) <= changes.cursor.seq
            assert frame.get("broadcast_seq", 0) <= changes.cursor.broadcast_seq
        frames += changes.frames
        if changes.complete:
            assert changes.cursor == read_head(reader).cursor
            return frames
        assert changes.cursor != cursor
        cursor = changes.cursor


def states_of(frames: list[dict[str, Any]], known: Iterable[str]) -> dict[str, str]:
    """Return what a client makes of the frames: items that it knows, each in its state."""
    states = dict.fromkeys(known, "unread")
    early: dict[str, str] = {}
    for frame in frames:
        if frame["type"] != "state":
            assert frame["id"] not in states, "told twice"
            states[frame["id"]] = early.get(frame["id"], frame["state"])
        for wire_id in frame.get("ids", []):
            target = states if wire_id in states else early
            target[wire_id] = frame["as"]
    return {wire_id: state for wire_id, state in states.items() if state != "gone"}


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 100])
def test_read_in_parts_nothing_is_lost_or_doubled(
    alice: User, notify: Notify, send: Notify, limit: int
) -> None:
    reader = reader_of(alice)
    known = [notify(alice) for _ in range(3)]
    cursor = read_head(reader).cursor
    new = [notify(alice) for _ in range(3)]
    news = [send() for _ in range(4)]
    send(audience="staff")
    replaced, kept = notify(alice, replace_key="a"), notify(alice, replace_key="a")
    # What is new and was read at once must not be taken for known in a later part.
    marks.mark(reader, "read", [*known, new[0], new[1], news[0]])
    marks.mark(reader, "unread", [new[1]])

    frames = follow(reader, cursor, limit)

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


def test_all_that_was_read_elsewhere_while_away_comes_whole(alice: User, notify: Notify) -> None:
    reader = reader_of(alice)
    new = [notify(alice) for _ in range(6)]
    marks.mark_all(reader, "read", 6, 0)

    # In parts of four: the second begins beyond the numbers of all six.
    frames = follow(reader, start(reader), 4)

    assert states_of(frames, []) == dict.fromkeys(new, "read")


def test_a_change_after_the_head_was_read_hides_nothing_new(
    alice: User, notify: Notify, send: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reader_of(alice)
    one, two, news = notify(alice), notify(alice), send()
    can_follow = notifications.changes._can_follow

    def while_reading(*args: Any) -> bool:
        monkeypatch.undo()
        marks.mark(reader, "read", [one, news])
        return can_follow(*args)

    monkeypatch.setattr("notifications.changes._can_follow", while_reading)
    before = read_changes(reader, start(reader), 100)
    after = read_changes(reader, before.cursor, 100)

    assert told(before) == [("hello", one), ("hello", two), ("news", news)]
    assert before.cursor.seq == 2  # nothing of what came after, not even the receipt
    assert told(after) == [("read", [one]), ("read", [news])]


def test_a_broadcast_after_the_head_was_read_does_not_count_yet(
    alice: User, send: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    send()
    current = BroadcastHeadQuerySet.current

    def while_reading(heads: BroadcastHeadQuerySet) -> BroadcastHead:
        monkeypatch.undo()
        head = current(heads)
        send()
        return head

    monkeypatch.setattr(BroadcastHeadQuerySet, "current", while_reading)
    head = read_head(reader_of(alice))

    # The client adds one for each that comes after `broadcast_seq`.
    assert (head.cursor.broadcast_seq, head.counts.unread_broadcasts) == (1, 1)


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
def test_a_cursor_from_elsewhere_is_told_to_reload(
    alice: User, notify: Notify, send: Notify, wrong: dict[str, Any]
) -> None:
    notify(alice)
    notify(alice)
    send()
    reader = reader_of(alice)
    right = {"seq": 1, "broadcast_seq": 0, "epoch": 1, "scope": reader.scope}
    assert not read_changes(reader, Cursor(**right), 10).resync

    changes = read_changes(reader, Cursor(**{**right, **wrong}), 10)

    assert (changes.resync, changes.frames) == (True, [])
    # From where it can go on.
    assert changes.cursor == Cursor(2, 1, 1, reader.scope)
    assert (changes.counts.unread, changes.counts.unread_broadcasts) == (2, 1)


def test_below_a_retention_floor_is_told_to_reload(
    alice: User, notify: Notify, send: Notify
) -> None:
    for _ in range(3):
        notify(alice)
        send()
    Inbox.objects.update(floor=2)
    BroadcastHead.objects.update(floor=1)
    reader = reader_of(alice)

    def resync(seq: int, broadcast_seq: int) -> bool:
        return read_changes(reader, Cursor(seq, broadcast_seq, 1, reader.scope), 10).resync

    assert [resync(1, 3), resync(2, 3), resync(3, 0), resync(3, 1)] == [True, False, True, False]


def test_too_far_behind_is_told_to_reload(
    alice: User, notify: Notify, send: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.changes.MOST_CHANGES", 2)
    for _ in range(3):
        notify(alice)
        send()
    reader = reader_of(alice)

    def resync(seq: int, broadcast_seq: int) -> bool:
        return read_changes(reader, Cursor(seq, broadcast_seq, 1, reader.scope), 10).resync

    assert [resync(0, 3), resync(1, 3), resync(3, 0), resync(3, 1)] == [True, False, True, False]


def test_another_epoch_means_other_numbers(alice: User, notify: Notify) -> None:
    notify(alice)
    reader = reader_of(alice)
    cursor = read_head(reader).cursor
    BroadcastHead.objects.lock()
    BroadcastHead.objects.update(epoch=2)

    changes = read_changes(reader, cursor, 10)

    assert (changes.resync, changes.cursor.epoch) == (True, 2)


def test_changes_take_as_many_queries_however_many_they_are(
    alice: User, notify: Notify, send: Notify
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            read_changes(reader, start(reader), 100)
        return len(queries)

    reader = reader_of(alice)
    marks.mark(reader, "read", [notify(alice), send()])
    few = queries()
    for _ in range(10):
        marks.mark(reader, "read", [notify(alice), send()])

    assert queries() == few < 10


def test_another_accounts_receipts_tell_nothing(
    alice: User, bob: User, notify: Notify, send: Notify
) -> None:
    news = send()
    marks.mark(reader_of(bob), "archived", [news])
    reader = reader_of(alice)

    assert BroadcastReceipt.objects.count() == 1
    changes = read_changes(reader, start(reader), 10)
    assert told(changes) == [("news", news)]
    assert [frame["state"] for frame in (*changes.frames, *read_page(reader).items)] == [
        "unread",
        "unread",
    ]
    assert pages(reader, 10) == pages(reader, 10, view="unread") == [[news]]
    assert pages(reader_of(bob), 10) == [[]]


def test_the_newest_numbers_of_many_accounts_are_one_look(
    alice: User, bob: User, carol: User, django_assert_num_queries: Any
) -> None:
    for account, count in ((alice, 3), (bob, 1)):
        Notification.objects.bulk_create(
            Notification(account=account, type="hello", body=str(n)) for n in range(count)
        )
    delivery.deliver([alice.pk, bob.pk], "default")

    with django_assert_num_queries(2):
        seqs, broadcasts = newest_seqs([alice.pk, bob.pk, carol.pk])

    assert (seqs, broadcasts.seq) == ({alice.pk: 3, bob.pk: 1}, 0)


def test_changes_of_many_are_those_of_each(
    alice: User, bob: User, carol: User, notify: Notify, send: Notify, monkeypatch: Any
) -> None:
    monkeypatch.setattr("notifications.changes.ACCOUNTS_PER_QUERY", 2)
    wire_ids = [notify(account) for account in (alice, alice, bob, carol, carol)]
    wire_ids += [send(), send(audience="staff"), send()]
    readers = [reader_of(account) for account in (alice, bob, carol)]
    for reader in readers:
        marks.mark(reader, "read", wire_ids[1::2])
    marks.mark(readers[0], "archived", wire_ids[-1:])
    asked = [
        (reader, replace(head.cursor, seq=max(0, head.cursor.seq - n), broadcast_seq=m))
        for reader, head in zip(readers, read_heads(readers), strict=True)
        for n, m in ((0, 3), (1, 3), (2, 1), (9, 0), (-1, 0))
    ]

    for limit in (1, 2, 100):
        together = read_changes_of_many(asked, limit)

        assert together == [read_changes(reader, cursor, limit) for reader, cursor in asked]
    assert [told.resync for told in together] == 3 * [False, False, False, False, True]
