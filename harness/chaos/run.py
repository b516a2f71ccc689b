"""A run: start everything, inject faults, wait until all have caught up, judge."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from harness.chaos import history, journal, plan, truth
from harness.chaos.cluster import Cluster, Front, Size, running_cluster
from harness.chaos.faults import Faults
from harness.chaos.frames import judge_frames
from harness.chaos.inbox import RequestFailed, read_latest, read_list
from harness.chaos.judge import (
    Delay,
    Verdict,
    delays,
    judge_client,
    judge_database,
    judge_list,
    slowest_by_fault,
)
from harness.chaos.tab import ClientState, Frame
from harness.command import Report

MAX_OVERTIME_SECONDS: Final = 300.0  # for producers that faults or a busy machine held up
MAX_CATCH_UP_SECONDS: Final = 120.0  # after the last fault
POLL_SECONDS: Final = 0.25
MAX_RECOVERY_SECONDS: Final = 10.0  # with the suite's interval of 2 s
MAX_REPORTED_DELAYS: Final = 20
MAX_REPORTED_CASES: Final = 20  # of each list


def run(
    seed: int,
    size: Size,
    directory: Path,
    own_plan: Sequence[plan.Fault] | None = None,
    front: Front | None = None,
) -> Report:
    """
    Inject the faults that the seed gives; return a report.

    own_plan: these faults instead of the seed's. front: a proxy in front of the servers.
    """
    if own_plan is None:
        drawn: Sequence[plan.Fault] = plan.draw(
            seed, size.faults, 60 * size.minutes, size.surroundings.names
        )
    else:
        drawn = own_plan
    started_at = time.monotonic()
    with running_cluster(seed, size, directory, front) as cluster:
        problems = []
        faults = Faults(cluster, drawn)
        faults.start()
        cluster.clients.call("mark", size.marks_per_second)
        time.sleep(60 * size.minutes)
        if not _await(lambda: _committed(cluster) >= size.notifications, MAX_OVERTIME_SECONDS):
            problems.append(f"Only {_committed(cluster)} notifications were committed in time")
        # Faults in progress end before anything is judged.
        if not _await(faults.are_over, MAX_CATCH_UP_SECONDS):
            problems.append(
                f"Not all faults were over {MAX_CATCH_UP_SECONDS:g} s after the planned end"
            )
        problems += faults.failures
        cluster.clients.call("mark", 0)
        for producer in cluster.producers:
            producer.stop()
        findings = _await_findings(cluster)
        if not findings.is_caught_up:
            problems.append(
                f"Not everything caught up within {MAX_CATCH_UP_SECONDS:g} s of the last fault"
            )
        problems += [
            f"A client was refused with {code}" for code in cluster.clients.call("refusals")
        ]
        report = _judge(cluster, findings, faults, seed)
    report["size"] = asdict(size)
    report["left out"] = sorted(vars(size.surroundings).keys() - {*size.surroundings.names})
    report["frozen while numbering"] = faults.frozen_while_numbering
    report["plan"] = [asdict(fault) for fault in drawn]
    report["injected"] = faults.injected
    report["seconds"] = round(time.monotonic() - started_at, 1)
    report["seconds until caught up"] = round(findings.seconds, 1)
    report["problems"] = problems
    slowest = max(report["slowest recovery seconds"].values(), default=0.0)
    report["recovered in time"] = slowest <= MAX_RECOVERY_SECONDS
    report["passed"] = (
        not problems and report["recovered in time"] and not any(report["cases"].values())
    )
    return report


@dataclass
class Findings:
    """The state of clients, lists and database at one moment."""

    clients: list[ClientState]
    lists: dict[int, tuple[list[Frame], Frame]]  # by account
    truth: truth.Truth
    is_caught_up: bool  # all clients were, and nothing changed while this was read
    seconds: float  # from the end of the faults


def _await_findings(cluster: Cluster) -> Findings:
    """Return the findings once all have caught up, or after MAX_CATCH_UP_SECONDS."""
    started_at = time.monotonic()
    while True:
        seconds = time.monotonic() - started_at
        is_over = seconds > MAX_CATCH_UP_SECONDS
        try:
            before = _positions_if_caught_up(cluster)
            if before or is_over:
                clients = cluster.clients.call("states")
                port = cluster.servers[0].port
                lists = {key: read_list(port, key) for key in {each.account for each in clients}}
                with cluster.connect() as connection:
                    found = truth.read(connection)
                # A mark whose client gave up waiting may have been saved in between.
                is_caught_up = before is not None and _positions_if_caught_up(cluster) == before
                if is_caught_up or is_over:
                    return Findings(clients, lists, found, is_caught_up, seconds)
        except (RequestFailed, psycopg.OperationalError):
            if is_over:
                raise
        time.sleep(POLL_SECONDS)


def _judge(cluster: Cluster, findings: Findings, faults: Faults, seed: int) -> Report:
    clients, found = findings.clients, findings.truth
    journals = journal.read(cluster.journals)
    verdict = Verdict()
    judge_database(found, journals, verdict)
    for name, client in enumerate(clients):
        judge_client(found, f"client {name} of account {client.account}", client, verdict)
    for key, (items, latest) in sorted(findings.lists.items()):
        judge_list(found, key, items, latest, verdict)
    counts = cluster.clients.call("end")
    with cluster.connect() as connection:
        changes = history.read(connection)
    # Each `scope` stands for the audiences of the accounts that have it in the end.
    scopes = {
        latest["scope"]: found.audiences[account] for account, (_, latest) in findings.lists.items()
    }
    accounts = {name: client.account for name, client in enumerate(clients)}
    frames = judge_frames(cluster.directory / "frames.gz", changes, accounts, scopes)
    verdict.wrong_counts += frames.wrong
    measured = delays(clients, journals.committed_at, faults.outages)
    return {
        "seed": seed,
        "committed notifications": sum(
            wire_id[0] == "n" for rows in found.rows.values() for wire_id in rows
        ),
        "committed broadcasts": len(found.broadcasts),
        "transactions": {
            "committed": journals.transactions,
            "rolled back": journals.rollbacks,
        },
        "faults": plan.count_by_kind([fault["kind"] for fault in faults.injected]),
        "layer messages": dict(sorted(Counter(cluster.layer_log.read_text().split()).items())),
        "clients": {
            "number": len(clients),
            "items shown": sum(len(client.shown) for client in clients),
            **counts,
        },
        "delay seconds": {
            "median": _quantile(measured, 0.5),
            "99 %": _quantile(measured, 0.99),
            "longest": _quantile(measured, 1),
        },
        "slowest recovery seconds": slowest_by_fault(measured),
        "counts in frames": {
            "checked": frames.checked,
            "of unknown audiences": frames.unknown_audiences,
        },
        "longest delays": [
            {
                "id": case.wire_id,
                "after": case.after,
                "account": case.account,
                "seconds": round(case.seconds, 3),
                "committed": round(case.committed_at - faults.started_at, 3),
                "shown": round(case.shown_at - faults.started_at, 3),
            }
            for case in measured[: -1 - MAX_REPORTED_DELAYS : -1]
        ],
        **{name.replace("_", " "): len(cases) for name, cases in vars(verdict).items()},
        "cases": {
            name.replace("_", " "): cases[:MAX_REPORTED_CASES]
            for name, cases in vars(verdict).items()
        },
    }


def _positions_if_caught_up(cluster: Cluster) -> dict[int, Frame] | None:
    """
    Return each account's position; None unless all its clients are there.

    Also None while a committed row has no number, or one that expired or was retracted is not
    removed.
    """
    with cluster.connect() as connection:
        if truth.count_unfinished(connection):
            return None
    positions: dict[int, Frame] = {}
    for account, position in cluster.clients.call("positions"):
        if position is None:
            return None
        if account not in positions:
            latest = read_latest(cluster.servers[0].port, account)
            positions[account] = {name: latest[name] for name in position}
        if positions[account] != position:
            return None
    return positions


def _committed(cluster: Cluster) -> int:
    return sum(key[0] == "n" for key in journal.read(cluster.journals).committed_at)


def _await(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _quantile(measured: list[Delay], share: float) -> float | None:
    return round(measured[round(share * (len(measured) - 1))].seconds, 3) if measured else None
