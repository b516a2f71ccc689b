"""What clients, HTTP and producers know, held against what the database has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.chaos.clients import Known
from harness.chaos.faults import Outages
from harness.chaos.journal import Account
from harness.chaos.tab import Frame
from harness.chaos.truth import Truth


@dataclass
class Verdict:
    """Each list has a line for every case."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    never_committed: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)  # states and counts

    @property
    def is_clean(self) -> bool:
        return not any(vars(self).values())


def judge_database(truth: Truth, account: Account, verdict: Verdict) -> None:
    """Everything that was committed is there with a number, nothing that was rolled back."""
    present = set(truth.broadcasts)
    for rows in truth.rows.values():
        present |= rows.keys()
        for wire_id, row in rows.items():
            if row.number is None:
                verdict.lost.append(f"{wire_id} never got a number")
            if row.body in account.rolled_back:
                verdict.never_committed.append(f"{wire_id} was rolled back, and is in the database")
    for wire_id in account.committed_at.keys() - present:
        verdict.lost.append(f"{wire_id} was committed, and is not in the database")
    for key, unread in truth.unread.items():
        if unread != truth.count_unread(key, "n"):
            verdict.differing.append(f"inbox {key} says {unread} unread, and has another number")


def judge_client(truth: Truth, name: str, known: Known, verdict: Verdict) -> None:
    rows = truth.rows[known.account]
    wanted = truth.in_inbox(known.account)
    for wire_id in wanted.keys() - known.states.keys():
        verdict.lost.append(f"{name} lacks {wire_id}")
    for wire_id, state in known.states.items():
        row = rows.get(wire_id)
        if row is None or row.body != known.bodies[wire_id]:
            verdict.never_committed.append(f"{name} has {wire_id}, which its account has not")
        elif row.state != state:
            verdict.differing.append(f"{name} has {wire_id} {state}, and it is {row.state}")
    for wire_id, shown in known.shown.items():
        # A broadcast may have been to an audience that the account has left since.
        body = rows[wire_id].body if wire_id in rows else truth.broadcasts.get(wire_id)
        if body != shown.body:
            verdict.never_committed.append(f"{name} was shown {wire_id}: {shown.body}")
    verdict.twice += [f"{name} was told {wire_id} twice" for wire_id in known.twice]
    verdict.out_of_order += [f"{name} was told {wire_id} late" for wire_id in known.out_of_order]
    told = (known.unread, known.unread_broadcasts)
    counted = tuple(truth.count_unread(known.account, kind) for kind in "nb")
    if told != counted:
        verdict.differing.append(f"{name} counts {told} unread, and there are {counted}")


def judge_list(
    truth: Truth, key: int, items: Iterable[Frame], head: Frame, verdict: Verdict
) -> None:
    """An inbox as HTTP tells it."""
    told = [item["id"] for item in items]
    states = {item["id"]: item["state"] for item in items}
    wanted = truth.in_inbox(key)
    if len(told) != len(states):
        verdict.twice.append(f"the list of {key} has {len(told) - len(states)} items twice")
    for wire_id in wanted.keys() - states.keys():
        verdict.lost.append(f"the list of {key} lacks {wire_id}")
    for wire_id in states.keys() - wanted.keys():
        verdict.differing.append(f"the list of {key} has {wire_id}, which is not in the inbox")
    for wire_id in states.keys() & wanted.keys():
        if states[wire_id] != wanted[wire_id]:
            verdict.differing.append(f"the list of {key} has {wire_id} {states[wire_id]}")
    told_counts = (head["unread"], head["unread_broadcasts"])
    counted = tuple(truth.count_unread(key, kind) for kind in "nb")
    if told_counts != counted:
        verdict.differing.append(f"the list of {key} counts {told_counts}, there are {counted}")


@dataclass(frozen=True, order=True, slots=True)
class CatchUp:
    """How an item came to a client that was connected; times are monotonic seconds."""

    seconds: float
    wire_id: str
    account: int
    committed_at: float
    shown_at: float


def healings(
    known: Iterable[Known], committed_at: Mapping[str, float], outages: Outages
) -> list[CatchUp]:
    """
    Return how each item came to each client, the quickest first.

    Counted from the moment when the client could have been told: from its
    connecting, or from its having read the list after a `resync`, from the
    database's return, from its server's thaw, if that is later.
    """
    found = []
    for client in known:
        for wire_id, shown in client.shown.items():
            if shown.port and wire_id in committed_at:
                committed = committed_at[wire_id]
                end = outages.latest_end(shown.port, shown.at)
                seconds = shown.at - max(committed, shown.ready_at, end)
                found.append(CatchUp(seconds, wire_id, client.account, committed, shown.at))
    return sorted(found)
