"""The fault suite can fail: what its clients count and its judge finds."""

from __future__ import annotations

from typing import Any

from harness.chaos import plan
from harness.chaos.clients import Known
from harness.chaos.faults import Outages
from harness.chaos.journal import Account, Journal, read
from harness.chaos.judge import Verdict, healings, judge_client, judge_database, judge_list
from harness.chaos.tab import Shown, Tab
from harness.chaos.truth import Row, Truth

HEAD = {"seq": 0, "broadcast_seq": 0, "epoch": 1, "scope": "s", "unread": 0, "unread_broadcasts": 0}


def told(number: int, **siblings: Any) -> dict[str, Any]:
    return {
        "type": "told",
        "content": {"body": f"token {number}", "meta_data": ""},
        "id": f"n{number}",
        "number": number,
        "seq": number,
        "state": "unread",
        "unread": number,
        **siblings,
    }


def tab_with(*frames: dict[str, Any]) -> Tab:
    tab = Tab()
    tab.load([], HEAD, at=0, is_restart=True)
    for frame in frames:
        tab.apply(frame, at=1, ready_at=0, port=8000)
    return tab


def known(tab: Tab) -> Known:
    bodies = {wire_id: item.body for wire_id, item in tab.items.items()}
    return Known(
        7,
        tab.states(),
        bodies,
        tab.shown,
        tab.unread,
        tab.unread_broadcasts,
        tab.twice,
        tab.out_of_order,
    )


def truth_of(*states: str) -> Truth:
    truth = Truth()
    for number, state in enumerate(states, 1):
        truth.rows[7][f"n{number}"] = Row(f"token {number}", number, state)
    truth.unread[7] = states.count("unread")
    return truth


def verdict_on(truth: Truth, tab: Tab) -> Verdict:
    verdict = Verdict()
    judge_client(truth, "client", known(tab), verdict)
    return verdict


def test_a_client_that_was_told_everything_is_cleared():
    assert verdict_on(truth_of("unread", "unread"), tab_with(told(1), told(2))).is_clean


def test_what_a_client_lacks_is_lost():
    verdict = verdict_on(truth_of("unread", "unread"), tab_with(told(2)))

    assert verdict.lost == ["client lacks n1"]


def test_what_comes_below_the_cursor_is_ignored_and_counted():
    tab = tab_with(told(2), told(1), told(2))

    assert tab.states() == {"n2": "unread"}
    assert (tab.twice, tab.out_of_order) == (["n2"], ["n1"])


def test_what_was_rolled_back_is_found_with_a_client():
    tab = tab_with(told(1), told(2, content={"body": "another token", "meta_data": ""}))

    verdict = verdict_on(truth_of("unread", "unread"), tab)

    assert verdict.never_committed == [
        "client has n2, which its account has not",
        "client was shown n2: another token",
    ]


def test_another_state_and_another_count_differ():
    verdict = verdict_on(truth_of("unread", "read"), tab_with(told(1), told(2)))

    assert verdict.differing == [
        "client has n2 unread, and it is read",
        "client counts (2, 0) unread, and there are (1, 0)",
    ]


def test_the_database_must_have_what_was_committed_and_nothing_else():
    truth = truth_of("unread", "unread", "unread")
    truth.rows[7]["n3"] = Row("token 3", None, "unread")
    account = Account(committed_at={"n1": 1.0, "n9": 1.0}, rolled_back={"token 2"})
    verdict = Verdict()

    judge_database(truth, account, verdict)

    assert verdict.lost == ["n3 never got a number", "n9 was committed, and is not in the database"]
    assert verdict.never_committed == ["n2 was rolled back, and is in the database"]


def test_the_list_over_http_is_held_against_the_database():
    verdict = Verdict()

    judge_list(truth_of("unread", "read"), 7, [told(2), told(2)], {**HEAD, "unread": 5}, verdict)

    assert verdict.twice == ["the list of 7 has 1 items twice"]
    assert verdict.lost == ["the list of 7 lacks n1"]
    assert verdict.differing == [
        "the list of 7 has n2 unread",
        "the list of 7 counts (5, 0), there are (1, 0)",
    ]


def test_states_ranges_and_replacements_reach_the_items():
    tab = tab_with(
        told(1),
        told(2),
        {"type": "state", "as": "read", "ids": ["n2"], "seq": 3, "unread": 1},
        told(4, replaces="n1"),
        told(5),
        {"type": "state", "as": "read", "seq": 6, "range": {"seq": 6, "upto": {"seq": 4}}},
    )

    assert tab.states() == {"n2": "read", "n4": "read", "n5": "unread"}


def test_a_receipt_for_a_broadcast_not_yet_told_is_remembered():
    news = told(1, id="b1", broadcast_seq=1)
    del news["seq"], news["unread"]

    tab = tab_with({"type": "state", "as": "read", "ids": ["b1"], "seq": 1}, news)

    assert tab.states() == {"b1": "read"}


def test_after_a_resync_only_the_list_counts():
    tab = tab_with(told(1), {**HEAD, "type": "resync", "seq": 5})
    assert tab.is_outdated

    tab.load([told(4), told(6)], {**HEAD, "seq": 6}, at=2, is_restart=False)
    for frame in (told(5), told(6), told(7)):
        tab.apply(frame, at=3, ready_at=0, port=8000)

    assert tab.states() == {"n4": "unread", "n6": "unread", "n7": "unread"}
    assert tab.twice == []


def test_what_the_list_was_ahead_of_is_replaced_all_the_same():
    tab = tab_with({**HEAD, "type": "resync"})
    tab.load([told(2, seq=3)], {**HEAD, "seq": 3}, at=2, is_restart=False)

    for frame in (told(1), told(2, seq=3, replaces="n1")):
        tab.apply(frame, at=3, ready_at=0, port=8000)

    assert tab.states() == {"n2": "unread"}


def test_healing_counts_from_when_a_client_could_be_told():
    outages = Outages()
    outages.database_ends.append(5.0)
    shown = {
        "n1": Shown("", at=1.5, ready_at=0.0, port=8000),
        "n2": Shown("", at=6.0, ready_at=0.0, port=8000),
        "n3": Shown("", at=9.0, ready_at=8.0, port=8000),
    }
    client = Known(7, {}, {}, shown, 0, 0, [], [])

    healed = healings([client], {"n1": 1.0, "n2": 2.0, "n3": 3.0}, outages)

    assert [case.seconds for case in healed] == [0.5, 1.0, 1.0]


def test_a_plan_is_drawn_from_its_seed():
    assert plan.draw(3, 40, 60) == plan.draw(3, 40, 60) != plan.draw(4, 40, 60)
    assert {fault.kind for fault in plan.draw(3, 40, 60)} == {kind.name for kind in plan.KINDS}


def test_a_journal_keeps_what_was_said(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.committed([1, 2], [1])
    journal.rolled_back(["token"])

    account = read([tmp_path / "journal"])

    assert account.committed_at.keys() == {"n1", "n2", "b1"}
    assert account.rolled_back == {"token"}
    assert (account.transactions, account.rollbacks) == (1, 1)
