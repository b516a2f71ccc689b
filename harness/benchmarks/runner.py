"""The order of measurements: servers take turns, one at a time, repetition by repetition."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.backing_services import BackingServices, backing_services
from harness.benchmarks import measure
from harness.benchmarks.ceiling import ceiling
from harness.benchmarks.database import grow_to, postgres_version
from harness.benchmarks.figures import Results
from harness.benchmarks.load import LoadGenerator
from harness.benchmarks.peers import Peer, available, tool_versions
from harness.benchmarks.scenarios import SCENARIOS, SPARE_ACCOUNTS, Scenario, Turn, connect
from harness.remote import Remote, RemoteError
from harness.services import DURABLE

MAX_SLOW_REPEAT: Final = 3  # for servers whose turns take half a minute
SETTINGS: Final = {
    "DJANGO_SETTINGS_MODULE": "notify_site.settings",
    "DJANGO_DEBUG": "0",
    "DJANGO_SECRET_KEY": "only-for-the-benchmark",
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
}
SMALL_DATABASES_SHARE: Final = 0.75  # of the time; large databases come last


@dataclass(frozen=True)
class PlannedTurn:
    """A turn of one server."""

    accounts: int  # in the database; 0 for as many as the largest turn needs
    repetition: int
    size: int
    peer: Peer
    scenarios: tuple[Scenario, ...]


def run(
    names: Sequence[str],
    peer_names: Sequence[str],
    *,
    repeat: int = 5,
    connections: Sequence[int] | None = None,
    minutes: float = 60,
) -> Results:
    """Run all turns; return the figures with the machine and the versions."""
    started_at = time.monotonic()
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
        "skipped": 0,
    }
    print("The load generator can take", _readable(results["load generator"]))
    growing = [scenario for scenario in chosen if scenario.name == "accounts"]
    others = [scenario for scenario in chosen if scenario.name != "accounts"]
    # The second group starts with a small database and lets it grow.
    for group in (others, growing):
        plan = sorted(
            _plan(group, peers, repeat, connections),
            key=lambda turn: (turn.accounts, turn.repetition, turn.size, peers.index(turn.peer)),
        )
        if not plan:
            continue
        sessions = max(turn.size for turn in plan) + SPARE_ACCOUNTS
        with backing_services(sessions, SETTINGS, DURABLE) as backing:
            results["versions"]["postgresql"] = postgres_version(backing)
            present = sessions
            for turn in plan:
                share = 1.0 if turn.accounts else SMALL_DATABASES_SHARE
                if time.monotonic() > started_at + share * minutes * 60:
                    results["skipped"] += 1
                    continue
                if turn.accounts > present:
                    grow_to(backing, turn.accounts)
                    present = turn.accounts
                taken = _run_turn(turn, backing, present)
                results["samples"] += taken.samples
                results["problems"] += taken.problems
    return results


def _plan(
    scenarios: Sequence[Scenario],
    peers: Sequence[Peer],
    repeat: int,
    connections: Sequence[int] | None,
) -> Iterator[PlannedTurn]:
    """Yield turns; scenarios that need the same server, size and accounts share one."""
    turns: dict[tuple[int, int, int, Peer], list[Scenario]] = {}
    for scenario in scenarios:
        for peer in peers:
            if scenario.peers is not None and peer.name not in scenario.peers:
                continue
            times = min(repeat, scenario.repeat, MAX_SLOW_REPEAT if peer.is_slow else repeat)
            for accounts in scenario.accounts or (0,):
                for size in connections or scenario.sizes:
                    for repetition in range(times):
                        key = (accounts, repetition, size, peer)
                        together = turns.setdefault(key, [])
                        # --connections replaces all sizes, so a scenario may come twice.
                        if scenario.name not in {known.name for known in together}:
                            together.append(scenario)
    for (accounts, repetition, size, peer), planned in turns.items():
        yield PlannedTurn(accounts, repetition, size, peer, tuple(planned))


def _run_turn(planned: PlannedTurn, backing: BackingServices, accounts: int) -> Turn:
    started_at = time.monotonic()
    with planned.peer.running(backing) as running, Remote(LoadGenerator) as load:
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
        f"#{planned.repetition + 1} {planned.peer.title}, {planned.size} connections"
        f"{f', {planned.accounts} accounts' if planned.accounts else ''}"
        f" ({time.monotonic() - started_at:.0f} s): {_readable(figures)}",
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
