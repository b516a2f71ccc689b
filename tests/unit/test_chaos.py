"""The fault suite's clients and judge detect every kind of failure."""

from __future__ import annotations

from typing import Any

from harness.chaos import plan
from harness.chaos.faults import Outages
from harness.chaos.frames import FrameJudge
from harness.chaos.history import History, SentBroadcast
from harness.chaos.journal import Journal, Summary, read
from harness.chaos.judge import Verdict, delays, judge_client, judge_database, judge_list
from harness.chaos.proxy import FrameMeter
from harness.chaos.tab import Appearance, ClientState, Tab
from harness.chaos.truth import Row, Truth

LATEST = {
    "seq": 0,
    "broadcast_seq": 0,
    "epoch": 1,
    "scope": "s",
    "unread": 0,
    "unread_broadcasts": 0,
}


def note(number: int, **siblings: Any) -> dict[str, Any]:
    return {
        "type": "note",
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
    tab.load([], LATEST, at=0, is_restart=True)
    for frame in frames:
        tab.apply(frame, at=1, ready_at=0, port=8000)
    return tab


def state_of(tab: Tab) -> ClientState:
    bodies = {wire_id: item.body for wire_id, item in tab.items.items()}
    return ClientState(
        7,
        tab.states(),
        bodies,
        tab.shown,
        tab.unread,
        tab.unread_broadcasts,
        tab.duplicated,
        tab.out_of_order,
    )


def truth_of(*states: str) -> Truth:
    truth = Truth()
    for number, state in enumerate(states, 1):
        truth.rows[7][f"n{number}"] = Row(f"token {number}", number, state)
    truth.unread[7] = states.count("unread")
    return truth


def judge(truth: Truth, tab: Tab) -> Verdict:
    verdict = Verdict()
    judge_client(truth, "client", state_of(tab), verdict)
    return verdict


def test_a_client_that_received_everything_passes():
    assert judge(truth_of("unread", "unread"), tab_with(note(1), note(2))).is_clean


def test_an_item_missing_at_a_client_is_lost():
    verdict = judge(truth_of("unread", "unread"), tab_with(note(2)))

    assert verdict.lost == ["client lacks n1"]


def test_items_below_the_position_are_ignored_but_counted():
    tab = tab_with(note(2), note(1), note(2))

    assert tab.states() == {"n2": "unread"}
    assert (tab.duplicated, tab.out_of_order) == (["n2"], ["n1"])


def test_a_rolled_back_item_at_a_client_is_found():
    tab = tab_with(note(1), note(2, content={"body": "another token", "meta_data": ""}))

    verdict = judge(truth_of("unread", "unread"), tab)

    assert verdict.never_committed == [
        "client has n2, but its account does not",
        "client was shown n2: another token",
    ]


def test_a_wrong_state_and_a_wrong_count_are_mismatches():
    verdict = judge(truth_of("unread", "read"), tab_with(note(1), note(2)))

    assert verdict.mismatched == [
        "client has n2 as unread, but it is read",
        "client counts (2, 0) unread, but there are (1, 0)",
    ]


def test_the_database_must_have_committed_rows_only_and_all_of_them():
    truth = truth_of("unread", "unread", "unread")
    truth.rows[7]["n3"] = Row("token 3", None, "unread")
    journals = Summary(committed_at={"n1": 1.0, "n9": 1.0}, rolled_back={"token 2"})
    verdict = Verdict()

    judge_database(truth, journals, verdict)

    assert verdict.lost == ["n3 never got a number", "n9 was committed, but is not in the database"]
    assert verdict.never_committed == ["n2 was rolled back, but is in the database"]


def test_the_http_list_is_compared_with_the_database():
    verdict = Verdict()

    judge_list(truth_of("unread", "read"), 7, [note(2), note(2)], {**LATEST, "unread": 5}, verdict)

    assert verdict.duplicated == ["the list of account 7 repeats 1 items"]
    assert verdict.lost == ["the list of account 7 lacks n1"]
    assert verdict.mismatched == [
        "the list of account 7 has n2 as unread",
        "the list of account 7 counts (5, 0) unread, but there are (1, 0)",
    ]


def test_states_ranges_and_replacements_are_applied_to_items():
    tab = tab_with(
        note(1),
        note(2),
        {"type": "state", "as": "read", "ids": ["n2"], "seq": 3, "unread": 1},
        note(4, replaces="n1"),
        note(5),
        {"type": "state", "as": "read", "seq": 6, "range": {"seq": 6, "upto": {"seq": 4}}},
    )

    assert tab.states() == {"n2": "read", "n4": "read", "n5": "unread"}


def test_a_state_that_arrives_before_its_broadcast_is_remembered():
    news = note(1, id="b1", broadcast_seq=1)
    del news["seq"], news["unread"]

    tab = tab_with({"type": "state", "as": "read", "ids": ["b1"], "seq": 1}, news)

    assert tab.states() == {"b1": "read"}


def test_after_a_resync_the_list_replaces_all_items():
    tab = tab_with(note(1), {**LATEST, "type": "resync", "seq": 5})
    assert tab.is_outdated

    tab.load([note(4), note(6)], {**LATEST, "seq": 6}, at=2, is_restart=False)
    for frame in (note(5), note(6), note(7)):
        tab.apply(frame, at=3, ready_at=0, port=8000)

    assert tab.states() == {"n4": "unread", "n6": "unread", "n7": "unread"}
    assert tab.duplicated == []


def test_an_item_that_the_list_already_lacks_can_still_be_replaced():
    tab = tab_with({**LATEST, "type": "resync"})
    tab.load([note(2, seq=3)], {**LATEST, "seq": 3}, at=2, is_restart=False)

    for frame in (note(1), note(2, seq=3, replaces="n1")):
        tab.apply(frame, at=3, ready_at=0, port=8000)

    assert tab.states() == {"n2": "unread"}


def test_a_delay_counts_from_when_the_client_could_receive_the_item():
    outages = Outages()
    outages.add("PostgreSQL crashed", 1.0, 5.0)
    outages.add("Redis frozen", 1.0, 5.5)  # the check delivers meanwhile
    outages.add("server frozen", 1.0, 5.5, port=8001)
    shown = {
        "n1": Appearance("", at=1.5, ready_at=0.0, port=8000),
        "n2": Appearance("", at=6.0, ready_at=0.0, port=8000),
        "n3": Appearance("", at=9.0, ready_at=8.0, port=8000),
    }
    client = ClientState(7, {}, {}, shown, 0, 0, [], [])

    measured = delays([client], {"n1": 1.0, "n2": 2.0, "n3": 3.0}, outages)

    assert [delay.seconds for delay in measured] == [0.5, 1.0, 1.0]


def judge_counts(*frames: dict[str, Any]) -> list[str]:
    """Judge frames of a client whose account had its first item read by its third change."""
    history = History(unread={7: ([1, 2, 3], [1, 2, 1])})
    history.broadcasts[7] = [SentBroadcast(1, "everyone", 1, None), SentBroadcast(2, "x", 2, 3)]
    history.receipts[7] = [(4, 1, False)]
    judge = FrameJudge(history, {0: 7}, {"s": frozenset({"everyone", "x"})})
    for frame in ({**LATEST, "type": "register"}, *frames):
        judge.take(0, 0.0, frame)
    return judge.result.wrong


def test_counts_are_compared_with_those_at_the_position_of_their_frame():
    heartbeat = {"type": "heartbeat", "seq": 3, "broadcast_seq": 2}

    assert judge_counts(note(1), note(2)) == []
    assert judge_counts({**heartbeat, "unread": 1, "unread_broadcasts": 2}) == []
    assert judge_counts({**heartbeat, "broadcast_seq": 3, "unread_broadcasts": 1}) == []
    assert judge_counts({**heartbeat, "seq": 4, "unread_broadcasts": 1}) == []
    (wrong,) = judge_counts({**heartbeat, "seq": 2, "unread": 1})
    assert "heartbeat with unread 1 instead of 2" in wrong
    (wrong,) = judge_counts({**heartbeat, "unread_broadcasts": 0})
    assert "unread_broadcasts 0 instead of 2" in wrong


def test_a_proxy_finds_the_end_of_a_frame_however_the_bytes_arrive():
    handshake = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    first, second = b"\x81\x03abc", b"\x81\x7e\x01\x00" + b"x" * 256
    data = handshake + first + second + first
    for step in (1, 3, len(data)):
        meter, found = FrameMeter(), None
        meter.aim(2)
        for start in range(0, len(data), step):
            found = meter.find(data[start : start + step])
            if found is not None:
                break
        assert found is not None
        assert start + found == len(handshake + first + second)


def test_the_random_seed_decides_the_plan():
    assert plan.draw(3, 40, 60) == plan.draw(3, 40, 60) != plan.draw(4, 40, 60)
    assert {fault.kind for fault in plan.draw(3, 40, 60)} == {kind.name for kind in plan.KINDS}


def test_a_journal_can_be_read_back(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.committed([1, 2], [1])
    journal.rolled_back(["token"])

    summary = read([tmp_path / "journal"])

    assert summary.committed_at.keys() == {"n1", "n2", "b1"}
    assert summary.rolled_back == {"token"}
    assert (summary.transactions, summary.rollbacks) == (1, 1)
