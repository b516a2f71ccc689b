"""Who is measured when: the servers take turns, alone, repetition after repetition."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.benchmarks import measure
from harness.benchmarks.ceiling import ceiling
from harness.benchmarks.database import grow_to, postgres_version
from harness.benchmarks.figures import Results
from harness.benchmarks.load import LoadGenerator
from harness.benchmarks.peers import Peer, available, tool_versions
from harness.benchmarks.scenarios import SCENARIOS, SPARE, Scenario, Turn, connect
from harness.remote import Remote, RemoteError
from harness.services import DURABLE
from harness.surroundings import Surroundings, surroundings

SLOW_REPEAT: Final = 3  # of servers whose every turn takes half a minute
SETTINGS: Final = {
    "DJANGO_SETTINGS_MODULE": "notify_site.settings",
    "DJANGO_DEBUG": "0",
    "DJANGO_SECRET_KEY": "only-for-the-benchmark",
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
}
CROWDS_SHARE: Final = 0.75  # of the time; the rest is for large databases, which come last


@dataclass(frozen=True)
class Planned:
    """A turn to be taken."""

    accounts: int  # in the database; 0: those of the largest crowd
    repetition: int
    size: int
    peer: Peer
    scenarios: tuple[Scenario, ...]


def run(
    names: Sequence[str],
    peer_names: Sequence[str],
    *,
    repeat: int = 5,
    sockets: Sequence[int] | None = None,
    minutes: float = 60,
) -> Results:
    """Take all turns; return the figures with what a reader must know to judge them."""
    began = time.monotonic()
    peers = available(peer_names)
    chosen = [scenario for scenario in SCENARIOS if scenario.name in names]
    results: Results = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": measure.machine(),
        "versions": {**measure.versions(), **tool_versions()},
        "peers": {peer.name: peer.title for peer in peers},
        "load generator": ceiling(),
        "samples": [],
        "problems": [],
        "left out": 0,
    }
    print("The load generator takes", _readable(results["load generator"]))
    growing = [scenario for scenario in chosen if scenario.name == "accounts"]
    others = [scenario for scenario in chosen if scenario.name != "accounts"]
    # Whether many accounts cost more is asked of a database that had few before.
    for group in (others, growing):
        plan = sorted(
            _plan(group, peers, repeat, sockets),
            key=lambda turn: (turn.accounts, turn.repetition, turn.size, peers.index(turn.peer)),
        )
        if not plan:
            continue
        sessions = max(turn.size for turn in plan) + SPARE
        with surroundings(sessions, SETTINGS, DURABLE) as around:
            results["versions"]["postgresql"] = postgres_version(around)
            present = sessions
            for turn in plan:
                share = 1.0 if turn.accounts else CROWDS_SHARE
                if time.monotonic() > began + share * minutes * 60:
                    results["left out"] += 1
                    continue
                if turn.accounts > present:
                    grow_to(around, turn.accounts)
                    present = turn.accounts
                taken = _take(turn, around, present)
                results["samples"] += taken.samples
                results["problems"] += taken.problems
    return results


def _plan(
    scenarios: Sequence[Scenario],
    peers: Sequence[Peer],
    repeat: int,
    sockets: Sequence[int] | None,
) -> Iterator[Planned]:
    """One turn for each crowd: it goes through all scenarios that need the same."""
    crowds: dict[tuple[int, int, int, Peer], list[Scenario]] = {}
    for scenario in scenarios:
        for peer in peers:
            if scenario.peers is not None and peer.name not in scenario.peers:
                continue
            times = min(repeat, scenario.repeat, SLOW_REPEAT if peer.is_slow else repeat)
            for accounts in scenario.accounts or (0,):
                for size in sockets or scenario.sizes:
                    for repetition in range(times):
                        key = (accounts, repetition, size, peer)
                        together = crowds.setdefault(key, [])
                        # With --sockets, one that has other peers at other sizes comes twice.
                        if scenario.name not in {known.name for known in together}:
                            together.append(scenario)
    for (accounts, repetition, size, peer), planned in crowds.items():
        yield Planned(accounts, repetition, size, peer, tuple(planned))


def _take(planned: Planned, around: Surroundings, accounts: int) -> Turn:
    began = time.monotonic()
    with planned.peer.running(around) as running, Remote(LoadGenerator) as load:
        turn = Turn(running, planned.size, planned.repetition, accounts, load)
        try:
            connect(turn, {scenario.name for scenario in planned.scenarios})
            for scenario in planned.scenarios:
                if scenario.run:
                    scenario.run(turn)
        except (RemoteError, OSError) as error:
            turn.complain(f"{type(error).__name__}: {error}")
    figures = {sample["figure"]: sample["value"] for sample in turn.samples}
    print(
        f"#{planned.repetition + 1} {planned.peer.title}, {planned.size} sockets"
        f"{f', {planned.accounts} accounts' if planned.accounts else ''}"
        f" ({time.monotonic() - began:.0f} s): {_readable(figures)}",
        flush=True,
    )
    for problem in turn.problems:
        print(f"PROBLEM: {problem}", flush=True)
    return turn


def _readable(figures: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {value:,.3g}" if value < 1000 else f"{name} {value:,.0f}"
        for name, value in figures.items()
    )
