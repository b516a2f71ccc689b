"""What was measured, in the order of the report, with what is aimed at; the figures of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from harness.benchmarks.measure import median

Results = dict[str, Any]
SEED: Final = "go"


@dataclass(frozen=True)
class Figure:
    """`target` is in the figure's unit, `ratio` to the seed; both are upper limits, or lower
    ones where more is better."""

    name: str
    title: str
    more_is_better: bool = False
    ratio: dict[str, float] | None = None
    target: dict[str, float] | None = None


def _both(value: float) -> dict[str, float]:
    return {"daphne": value, "uvicorn": value}


# In the order of the report.
FIGURES: Final = [
    Figure("broadcast CPU", "Broadcast: CPU s per 100k deliveries", ratio=_both(1.0)),
    Figure("last delivery", "Broadcast: ms to the last delivery", ratio={"uvicorn2": 0.6}),
    Figure("sustained deliveries", "Sustained: deliveries/s", True, ratio=_both(1.0)),
    Figure("sustained CPU", "Sustained: CPU s per 100k deliveries"),
    Figure("heartbeat CPU", "Heartbeats: CPU s per 100k", ratio={"daphne": 4, "uvicorn": 3}),
    Figure("idle CPU", "Idle: % of a core"),
    Figure(
        "RSS per connection", "RSS: KB per idle connection", ratio={"daphne": 1.7, "uvicorn": 1.6}
    ),
    Figure("PSS per connection", "PSS: KB per idle connection"),
    Figure("handshake CPU", "Handshakes: CPU s per 1k", target=_both(1.0)),
    Figure("handshakes per second", "Handshakes/s", True),
    Figure("all back", "All cut clients are back: s"),
    Figure("all back, CPU", "All cut clients are back: CPU s per 1k"),
    Figure("all back: page p50", "All cut clients come back: an inbox's page meanwhile, p50 ms"),
    Figure("all back: page p99", "All cut clients come back: an inbox's page meanwhile, p99 ms"),
    *(
        figure
        for rate in (200, 1000)
        for figure in (
            Figure(f"targeted {rate}/s: p50", f"Pushes at {rate}/s: p50 ms", target=_both(0.5)),
            Figure(f"targeted {rate}/s: p99", f"Pushes at {rate}/s: p99 ms", target=_both(1.5)),
            Figure(f"targeted {rate}/s: CPU", f"Pushes at {rate}/s: CPU s per 10k", ratio=_both(3)),
            Figure(f"targeted {rate}/s: rate", f"Pushes at {rate}/s: really made per s", True),
        )
    ),
    Figure("persisted 200/s: p50", "Committed, numbered pushes at 200/s: p50 ms"),
    Figure("persisted 200/s: p99", "Committed, numbered pushes at 200/s: p99 ms", target=_both(10)),
    Figure("persisted 200/s: CPU", "Committed, numbered pushes at 200/s: CPU s per 10k"),
    Figure("persisted 200/s: rate", "Committed, numbered pushes: really made per s", True),
    Figure(
        "many: rows/s to the commit",
        "100,000 accounts in one call: rows/s to the commit",
        True,
        target=_both(50_000),
    ),
    Figure(
        "many: rows/s until pushed",
        "100,000 accounts in one call: rows/s until all pushed",
        True,
        target=_both(20_000),
    ),
    Figure(
        "many: caller's memory", "100,000 accounts in one call: MB of the caller", target=_both(100)
    ),
    Figure("many: last socket", "100,000 accounts in one call: s to the last socket"),
    Figure("million: last socket", "Broadcast to 1,000,000 accounts: ms to the last socket"),
    Figure("million: CPU", "Broadcast to 1,000,000 accounts: CPU s per 100k deliveries"),
    Figure("loop held", "Broadcast: longest time the loop is held, ms", target=_both(20)),
    Figure(
        "heartbeat p99 meanwhile",
        "Broadcast: others' heartbeats meanwhile, p99 ms",
        target=_both(50),
    ),
    Figure("accounts: broadcast CPU", "Broadcast: CPU s per 100k deliveries, by accounts"),
    Figure("accounts: idle CPU", "Idle: % of a core, by accounts"),
    Figure(
        "delivered beside a slow reader",
        "One slow reader: % delivered to the others",
        True,
        target=_both(100),
    ),
    Figure("slow reader: latency", "One slow reader: the others' latency, × before"),
    Figure("slow reader: memory", "One slow reader: MB that the server grew"),
    Figure("load generator busy", "Load generator: % of a core during a broadcast"),
]


@dataclass(frozen=True)
class Row:
    """A figure of one server and crowd, over all repetitions."""

    figure: Figure
    peer: str
    size: int
    accounts: int | None  # where they are what is varied
    values: list[float]
    ratios: list[float]  # to the seed, repetition by repetition

    @property
    def verdict(self) -> str:
        """Whether what was aimed at was reached."""
        for aims, values, prefix in (
            (self.figure.ratio, self.ratios, "×"),
            (self.figure.target, self.values, ""),
        ):
            if aims and self.peer in aims and values:
                aim = aims[self.peer]
                more = self.figure.more_is_better
                reached = median(values) >= aim if more else median(values) <= aim
                sign = "≥" if more else "≤"
                return f"{sign} {prefix}{readable(aim)} {'✓' if reached else '✗'}"
        return ""


def rows(results: Results) -> Iterator[Row]:
    """All figures that were taken, in the report's order."""
    by_place: dict[tuple[str, str, int, int], dict[int, list[float]]] = {}
    for sample in results["samples"]:
        place = (sample["figure"], sample["peer"], sample["size"], sample["accounts"])
        repetitions = by_place.setdefault(place, {})
        repetitions.setdefault(sample["repetition"], []).append(sample["value"])
    peers = list(results["peers"])
    for figure in FIGURES:
        places = [place for place in by_place if place[0] == figure.name]
        for place in sorted(places, key=lambda place: (place[2:], peers.index(place[1]))):
            _, peer, size, accounts = place
            seed = by_place.get((figure.name, SEED, size, accounts), {})
            ratios = [
                median(values) / median(seed[repetition])
                for repetition, values in by_place[place].items()
                if repetition in seed and median(seed[repetition])
            ]
            yield Row(
                figure,
                peer,
                size,
                accounts if figure.name.startswith("accounts:") else None,
                [median(values) for values in by_place[place].values()],
                ratios,
            )


def readable(value: float) -> str:
    if value != value:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
