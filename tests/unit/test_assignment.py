"""The numbers that new notifications get: worked out without the database."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.lifecycle.assignment import Numbered, Place, UnnumberedRow, assign_numbers
from notifications.lifecycle.numbering import live_updates
from notifications.lifecycle.publishing import LiveUpdate
from notifications.models.inboxes import LockedInbox

ALICE, BOB, CAROL = 1, 2, 3
NOW = datetime(2026, 12, 1, tzinfo=UTC)
MESSAGE = ('""', "hello", "Hello", "", "info", NOW, None)

Older = dict[Place, list[int]]


def row(id: int, account_id: int, replace_key: str = "") -> UnnumberedRow:
    return id, account_id, replace_key, MESSAGE


def inboxes(**values: int) -> dict[Any, LockedInbox]:
    return {
        account_id: LockedInbox(account_id, **{"seq": 0, "unread": 0, "floor": 0, **values})
        for account_id in (ALICE, BOB, CAROL)
    }


def updates_of(numbered: Numbered) -> list[tuple[LiveUpdate, dict[str, Any]]]:
    return [(update, json.loads(update.text)) for update in live_updates(numbered.rows)]


@st.composite
def calls(draw: st.DrawFn) -> tuple[dict[Any, LockedInbox], list[UnnumberedRow], Older]:
    """Draw what `assign_numbers` takes: any inboxes, rows in any order, places of any fullness."""
    accounts = st.sampled_from([ALICE, BOB, CAROL])
    keys = st.sampled_from(["a", "b"])
    ids = iter(range(1, 1000))
    older = {
        place: [next(ids) for _ in range(count)]
        for place, count in draw(
            st.dictionaries(st.tuples(accounts, keys), st.integers(1, 3))
        ).items()
    }
    rows = [
        row(next(ids), account_id, key)
        for account_id, key in draw(st.lists(st.tuples(accounts, st.just("") | keys), max_size=12))
    ]
    found = inboxes()
    for inbox in found.values():
        inbox.unread = sum(len(older[p]) for p in older if p[0] == inbox.account_id)
        inbox.unread += draw(st.integers(0, 5))
        inbox.seq = inbox.unread + draw(st.integers(0, 5))
    return found, rows, older


@settings(deadline=None)
@given(calls())
def test_every_change_of_an_inbox_takes_its_next_number(call: Any) -> None:
    before, rows, older = call

    numbered = assign_numbers(before, rows, older, NOW)

    changes: defaultdict[Any, list[int]] = defaultdict(list)
    account_of = {id: account_id for (account_id, _), ids in older.items() for id in ids}
    for new in numbered.rows:
        # Replaced at once, it has changed twice.
        changes[new.account_id] += {new.number, new.seq}
    for old in numbered.replaced:
        changes[account_of[old.id]].append(old.seq)
    after = {inbox.account_id: inbox.seq for inbox in numbered.inboxes}
    assert after.keys() == changes.keys() == {account_id for _, account_id, _, _ in rows}
    for account_id, numbers in changes.items():
        assert sorted(numbers) == list(range(before[account_id].seq + 1, after[account_id] + 1))


@settings(deadline=None)
@given(calls())
def test_the_rows_of_an_account_keep_their_order(call: Any) -> None:
    before, rows, older = call

    numbered = assign_numbers(before, rows, older, NOW)

    assert [new.id for new in numbered.rows] == [id for id, _, _, _ in rows]
    for account_id in before:
        numbers = [new.number for new in numbered.rows if new.account_id == account_id]
        assert numbers == sorted(numbers)


@settings(deadline=None)
@given(calls())
def test_the_unread_are_counted(call: Any) -> None:
    before, rows, older = call

    numbered = assign_numbers(before, rows, older, NOW)

    account_of = {id: account_id for (account_id, _), ids in older.items() for id in ids}
    removed = Counter(account_of[old.id] for old in numbered.replaced)
    removed.update(new.account_id for new in numbered.rows if new.removed_at)
    added = Counter(account_id for _, account_id, _, _ in rows)
    for inbox in numbered.inboxes:
        account_id = inbox.account_id
        assert inbox.unread == before[account_id].unread + added[account_id] - removed[account_id]
        # As of the newest frame, which is the last that a tab sees.
        assert [new.unread for new in numbered.rows if new.account_id == account_id][
            -1
        ] == inbox.unread


@settings(deadline=None)
@given(calls())
def test_of_each_place_the_newest_stays(call: Any) -> None:
    before, rows, older = call

    numbered = assign_numbers(before, rows, older, NOW)

    taken = {(account_id, key): id for id, account_id, key, _ in rows if key}
    replaced = {old.id: old.removed_at for old in numbered.replaced}
    assert replaced == dict.fromkeys((id for place in taken for id in older.get(place, ())), NOW)
    for id, account_id, key, _ in rows:
        (new,) = (new for new in numbered.rows if new.id == id)
        stays = not key or taken[account_id, key] == id
        assert new.removed_at == (None if stays else NOW)
        assert (new.seq == new.number) == stays


@settings(deadline=None)
@given(calls())
def test_the_live_updates_cover_every_change_and_name_all_that_is_replaced(call: Any) -> None:
    before, rows, older = call
    seqs = {account_id: inbox.seq for account_id, inbox in before.items()}
    unread = {account_id: inbox.unread for account_id, inbox in before.items()}
    named = []

    numbered = assign_numbers(before, rows, older, NOW)

    for update, frame in updates_of(numbered):
        account_id = int(update.account)
        # The next one for a tab that has all before it.
        assert update.first == seqs[account_id] + 1
        seqs[account_id] = update.seq
        if frame["type"] == "state":
            removed, new = frame["ids"], 0
        else:
            removed, new = [frame["replaces"]] if frame["replaces"] else [], 1
            assert frame["number"] == frame["seq"]
        assert update.seq - update.first + 1 == len(removed) + new
        unread[account_id] += new - len(removed)
        assert frame["unread"] == update.unread == unread[account_id]
        assert frame["seq"] == update.seq
        named += removed
    assert len(named) == len(set(named))
    assert set(named) == {
        f"n{changed.id}" for changed in (*numbered.replaced, *numbered.rows) if changed.removed_at
    }
    assert seqs == {
        **{account_id: inbox.seq for account_id, inbox in before.items()},
        **{inbox.account_id: inbox.seq for inbox in numbered.inboxes},
    }


@settings(deadline=None)
@given(calls())
def test_what_is_given_is_left_as_it_is(call: Any) -> None:
    before = deepcopy(call)

    first = assign_numbers(*call, NOW)

    assert call == before
    assert assign_numbers(*call, NOW) == first


def test_nothing_new_changes_nothing() -> None:
    assert assign_numbers(inboxes(), [], {}, NOW) == ([], [], [])


def test_an_inbox_without_new_rows_need_not_be_written() -> None:
    numbered = assign_numbers(inboxes(seq=4), [row(1, BOB)], {}, NOW)

    assert numbered.inboxes == [LockedInbox(BOB, seq=5, unread=1, floor=0)]


def test_a_row_that_replaces_several_names_the_last() -> None:
    numbered = assign_numbers(
        inboxes(seq=6, unread=3), [row(9, ALICE, "upload")], {(ALICE, "upload"): [2, 3, 5]}, NOW
    )

    (new,) = numbered.rows
    assert (new.number, new.seq, new.unread, new.replaces) == (10, 10, 1, 5)
    assert [(old.id, old.seq) for old in numbered.replaced] == [(2, 7), (3, 8), (5, 9)]
    (removal, removed), (arrival, arrived) = updates_of(numbered)
    assert (removal.first, removal.seq, removed["ids"]) == (7, 8, ["n2", "n3"])
    assert (arrival.first, arrival.seq, arrived["replaces"]) == (9, 10, "n5")
