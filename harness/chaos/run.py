"""The course of a run: everything up, faults, quiet, judgement."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from harness.chaos import journal, plan, truth
from harness.chaos.clients import Known
from harness.chaos.faults import Faults
from harness.chaos.inbox import Unanswered, read_latest, read_list
from harness.chaos.judge import CatchUp, Verdict, healings, judge_client, judge_database, judge_list
from harness.chaos.processes import Front, Processes, Size, processes
from harness.chaos.tab import Frame
from harness.command import Report

OVERTIME: Final = 300.0  # seconds more for producers that faults, or a busy machine, held up
QUIET: Final = 120.0  # seconds for everything to be level, after the last fault
LOOK: Final = 0.25  # seconds between two looks
SLOWEST: Final = 20  # healings that the report shows
CASES: Final = 20  # of each list that the report shows


def run(
    seed: int,
    size: Size,
    directory: Path,
    own_plan: Sequence[plan.Fault] | None = None,
    front: Front | None = None,
) -> Report:
    """
    Let everything fail by the plan that the seed gives; return what came of it.

    own_plan: a plan of one's own. front: what stands before the servers.
    """
    drawn = plan.draw(seed, size.faults, 60 * size.minutes) if own_plan is None else own_plan
    began = time.monotonic()
    with processes(seed, size, directory, front) as around:
        problems = []
        faults = Faults(around, drawn)
        faults.start()
        around.clients.call("mark", size.marks_per_second)
        time.sleep(60 * size.minutes)
        if not _await(lambda: _committed(around) >= size.notifications, OVERTIME):
            problems.append(f"Only {_committed(around)} notifications were committed in time")
        # A fault that is under way ends before anything is judged.
        if not _await(faults.are_over, QUIET):
            problems.append(f"Not all faults were over {QUIET:g} s after their time")
        problems += faults.failures
        around.clients.call("mark", 0)
        for producer in around.producers:
            producer.stop()
        findings = _look(around)
        if not findings.level:
            problems.append(f"Not everything was level {QUIET:g} s after the last fault")
        problems += [
            f"A client was refused with {code}" for code in around.clients.call("refusals")
        ]
        report = _judged(around, findings, faults, seed)
    report["size"] = asdict(size)
    report["plan"] = [asdict(fault) for fault in drawn]
    report["happened"] = faults.happened
    report["seconds"] = round(time.monotonic() - began, 1)
    report["seconds until level"] = round(findings.seconds, 1)
    report["problems"] = problems
    report["passed"] = not problems and not any(report["cases"].values())
    return report


@dataclass
class Findings:
    """What clients, lists and database had at one moment."""

    known: list[Known]
    lists: dict[int, tuple[list[Frame], Frame]]  # by account
    truth: truth.Truth
    level: bool  # nobody lacked anything, and nothing changed while it was looked at
    seconds: float  # until then


def _look(around: Processes) -> Findings:
    """Return what there is once everything is level, and after QUIET in any case."""
    began = time.monotonic()
    while True:
        seconds = time.monotonic() - began
        is_over = seconds > QUIET
        try:
            before = _level_cursors(around)
            if before or is_over:
                known = around.clients.call("known")
                port = around.servers[0].port
                lists = {key: read_list(port, key) for key in {each.account for each in known}}
                with around.connect() as connection:
                    found = truth.read(connection)
                # A mark that nobody waits for any more may have come in between.
                is_level = before is not None and _level_cursors(around) == before
                if is_level or is_over:
                    return Findings(known, lists, found, is_level, seconds)
        except (Unanswered, psycopg.OperationalError):
            if is_over:
                raise
        time.sleep(LOOK)


def _judged(around: Processes, findings: Findings, faults: Faults, seed: int) -> Report:
    known, found = findings.known, findings.truth
    account = journal.read(around.journals)
    verdict = Verdict()
    judge_database(found, account, verdict)
    for name, client in enumerate(known):
        judge_client(found, f"client {name} of account {client.account}", client, verdict)
    for key, (items, head) in sorted(findings.lists.items()):
        judge_list(found, key, items, head, verdict)
    done = around.clients.call("end")
    healed = healings(known, account.committed_at, faults.outages)
    return {
        "seed": seed,
        "committed notifications": sum(
            wire_id[0] == "n" for rows in found.rows.values() for wire_id in rows
        ),
        "committed broadcasts": len(found.broadcasts),
        "transactions": {
            "committed": account.transactions,
            "rolled back": account.rollbacks,
        },
        "faults": plan.by_kind([fault["kind"] for fault in faults.happened]),
        "pushes": dict(sorted(Counter(around.pushes.read_text().split()).items())),
        "clients": {"number": len(known), "items shown": sum(len(c.shown) for c in known), **done},
        "healing seconds": {
            "median": _quantile(healed, 0.5),
            "99 %": _quantile(healed, 0.99),
            "slowest": _quantile(healed, 1),
        },
        "slowest": [
            {
                "id": case.wire_id,
                "account": case.account,
                "seconds": round(case.seconds, 3),
                "committed": round(case.committed_at - faults.began, 3),
                "shown": round(case.shown_at - faults.began, 3),
            }
            for case in healed[: -1 - SLOWEST : -1]
        ],
        **{name.replace("_", " "): len(cases) for name, cases in vars(verdict).items()},
        "cases": {name.replace("_", " "): cases[:CASES] for name, cases in vars(verdict).items()},
    }


def _level_cursors(around: Processes) -> dict[int, Frame] | None:
    """
    Return each account's cursor; None unless every client stands there.

    None also while something committed has no number, or something expired is not gone.
    """
    with around.connect() as connection:
        if truth.unfinished(connection):
            return None
    cursors: dict[int, Frame] = {}
    for account, cursor in around.clients.call("positions"):
        if cursor is None:
            return None
        if account not in cursors:
            head = read_latest(around.servers[0].port, account)
            cursors[account] = {name: head[name] for name in cursor}
        if cursors[account] != cursor:
            return None
    return cursors


def _committed(around: Processes) -> int:
    return sum(key[0] == "n" for key in journal.read(around.journals).committed_at)


def _await(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True


def _quantile(healed: list[CatchUp], share: float) -> float | None:
    return round(healed[round(share * (len(healed) - 1))].seconds, 3) if healed else None
