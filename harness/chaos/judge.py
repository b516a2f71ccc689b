"""Compare clients, HTTP lists and producers' journals with the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.chaos.faults import Outages
from harness.chaos.journal import Summary
from harness.chaos.tab import ClientState, Frame
from harness.chaos.truth import Truth


@dataclass
class Verdict:
    """Each list has a line for each case."""

    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    never_committed: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)  # states or counts
    wrong_counts: list[str] = field(default_factory=list)  # in a frame, at its position

    @property
    def is_clean(self) -> bool:
        return not any(vars(self).values())


def judge_database(truth: Truth, journals: Summary, verdict: Verdict) -> None:
    """Check that it has all committed rows, with numbers, and no rolled back ones."""
    present = set(truth.broadcasts)
    for rows in truth.rows.values():
        present |= rows.keys()
        for wire_id, row in rows.items():
            if row.number is None:
                verdict.lost.append(f"{wire_id} never got a number")
            if row.body in journals.rolled_back:
                verdict.never_committed.append(f"{wire_id} was rolled back, but is in the database")
    for wire_id in journals.committed_at.keys() - present:
        verdict.lost.append(f"{wire_id} was committed, but is not in the database")
    for key, unread in truth.unread.items():
        if unread != truth.count_unread(key, "n"):
            verdict.mismatched.append(f"inbox {key} counts {unread} unread, but has another number")


def judge_client(truth: Truth, name: str, client: ClientState, verdict: Verdict) -> None:
    rows = truth.rows[client.account]
    expected = truth.in_inbox(client.account)
    for wire_id in expected.keys() - client.states.keys():
        verdict.lost.append(f"{name} lacks {wire_id}")
    for wire_id, state in client.states.items():
        row = rows.get(wire_id)
        if row is None or row.body != client.bodies.get(wire_id, row.body):
            verdict.never_committed.append(f"{name} has {wire_id}, but its account does not")
        elif row.state != state:
            verdict.mismatched.append(f"{name} has {wire_id} as {state}, but it is {row.state}")
    for wire_id, shown in client.shown.items():
        # The account may have left the audience of a broadcast since.
        body = rows[wire_id].body if wire_id in rows else truth.broadcasts.get(wire_id)
        if body != shown.body:
            verdict.never_committed.append(f"{name} was shown {wire_id}: {shown.body}")
    verdict.duplicated += [f"{name} received {wire_id} twice" for wire_id in client.duplicated]
    verdict.out_of_order += [f"{name} received {wire_id} late" for wire_id in client.out_of_order]
    counts = (client.unread, client.unread_broadcasts)
    expected_counts = tuple(truth.count_unread(client.account, kind) for kind in "nb")
    if counts != expected_counts:
        verdict.mismatched.append(f"{name} counts {counts} unread, but there are {expected_counts}")


def judge_list(
    truth: Truth, account: int, items: Iterable[Frame], latest: Frame, verdict: Verdict
) -> None:
    """Check an inbox's list, as read over HTTP; `latest` has its counts."""
    name = f"the list of account {account}"
    ids = [item["id"] for item in items]
    states = {item["id"]: item["state"] for item in items}
    expected = truth.in_inbox(account)
    if len(ids) != len(states):
        verdict.duplicated.append(f"{name} repeats {len(ids) - len(states)} items")
    for wire_id in expected.keys() - states.keys():
        verdict.lost.append(f"{name} lacks {wire_id}")
    for wire_id in states.keys() - expected.keys():
        verdict.mismatched.append(f"{name} has {wire_id}, which is not in the inbox")
    for wire_id in states.keys() & expected.keys():
        if states[wire_id] != expected[wire_id]:
            verdict.mismatched.append(f"{name} has {wire_id} as {states[wire_id]}")
    counts = (latest["unread"], latest["unread_broadcasts"])
    expected_counts = tuple(truth.count_unread(account, kind) for kind in "nb")
    if counts != expected_counts:
        verdict.mismatched.append(f"{name} counts {counts} unread, but there are {expected_counts}")


@dataclass(frozen=True, order=True, slots=True)
class Delay:
    """
    How long an item took to reach a connected client; times are monotonic seconds.

    after: the kind of the fault that ended last while it was under way.
    """

    seconds: float
    after: str
    wire_id: str
    account: int
    committed_at: float
    shown_at: float


def delays(
    clients: Iterable[ClientState], committed_at: Mapping[str, float], outages: Outages
) -> list[Delay]:
    """
    Return the delay of each item at each client, the shortest first.

    Delays count from the commit, or from when the client could first receive
    the item if that was later: it connected, or loaded its list after a
    `resync`; the database came back; its server was thawed.
    """
    found = []
    for client in clients:
        for wire_id, shown in client.shown.items():
            if shown.port and wire_id in committed_at:
                committed = committed_at[wire_id]
                end = outages.latest_end(shown.port, shown.at)
                seconds = shown.at - max(committed, shown.ready_at, end)
                after = outages.latest_kind(committed, shown.at)
                found.append(Delay(seconds, after, wire_id, client.account, committed, shown.at))
    return sorted(found)


def slowest_by_fault(delays: Iterable[Delay]) -> dict[str, float]:
    """Return the slowest recovery after each kind of fault, the slowest kind first."""
    slowest: dict[str, float] = {}
    for delay in sorted(delays, reverse=True):
        slowest.setdefault(delay.after, round(delay.seconds, 2))
    return slowest
