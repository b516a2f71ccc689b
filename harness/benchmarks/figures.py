"""The figures of a run, in the order of the report, with their targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from harness.benchmarks.measure import median

Results = dict[str, Any]
GO: Final = "go"


@dataclass(frozen=True)
class Figure:
    """
    `target` is a limit in the figure's unit, `ratio` one relative to the Go server. Both are upper
    limits, or lower ones if more is better.
    """

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
    Figure("reconnect: seconds", "Reconnecting all clients: s"),
    Figure("reconnect: CPU", "Reconnecting all clients: CPU s per 1k"),
    Figure("reconnect: page p50", "Reconnecting all clients: p50 ms of an inbox page meanwhile"),
    Figure("reconnect: page p99", "Reconnecting all clients: p99 ms of an inbox page meanwhile"),
    *(
        figure
        for rate in (200, 1000)
        for figure in (
            Figure(
                f"targeted {rate}/s: p50",
                f"To single accounts at {rate}/s: p50 ms",
                target=_both(0.5),
            ),
            Figure(
                f"targeted {rate}/s: p99",
                f"To single accounts at {rate}/s: p99 ms",
                target=_both(1.5),
            ),
            Figure(
                f"targeted {rate}/s: CPU",
                f"To single accounts at {rate}/s: CPU s per 10k",
                ratio=_both(3),
            ),
            Figure(f"targeted {rate}/s: rate", f"To single accounts at {rate}/s: sent per s", True),
        )
    ),
    Figure("persisted 200/s: p50", "Notifications at 200/s: p50 ms"),
    Figure("persisted 200/s: p99", "Notifications at 200/s: p99 ms", target=_both(10)),
    Figure("persisted 200/s: CPU", "Notifications at 200/s: CPU s per 10k"),
    Figure("persisted 200/s: rate", "Notifications at 200/s: created per s", True),
    Figure(
        "many: rows/s to the commit",
        "100,000 accounts in one call: rows/s to the commit",
        True,
        target=_both(50_000),
    ),
    Figure(
        "many: rows/s until published",
        "100,000 accounts in one call: rows/s until all are published",
        True,
        target=_both(20_000),
    ),
    Figure(
        "many: caller's memory", "100,000 accounts in one call: MB in the caller", target=_both(100)
    ),
    Figure("many: last delivery", "100,000 accounts in one call: s to the last delivery"),
    Figure("million: last delivery", "Broadcast to 1,000,000 accounts: ms to the last delivery"),
    Figure("million: CPU", "Broadcast to 1,000,000 accounts: CPU s per 100k deliveries"),
    Figure(
        "loop blocked", "Broadcast: longest time the event loop is blocked, ms", target=_both(20)
    ),
    Figure(
        "heartbeat p99 meanwhile",
        "Broadcast: p99 ms of other clients' heartbeats",
        target=_both(50),
    ),
    Figure("accounts: broadcast CPU", "Broadcast: CPU s per 100k deliveries, by accounts"),
    Figure("accounts: idle CPU", "Idle: % of a core, by accounts"),
    Figure(
        "delivered beside a slow client",
        "One slow client: % delivered to the others",
        True,
        target=_both(100),
    ),
    Figure("slow client: latency", "One slow client: the others' latency, × before"),
    Figure("slow client: memory", "One slow client: MB of growth in the server"),
    Figure("load generator busy", "Load generator: % of a core during a broadcast"),
]


@dataclass(frozen=True)
class Row:
    """A figure of one server at one size, over all repetitions."""

    figure: Figure
    peer: str
    size: int
    accounts: int | None  # in the database, if the figure varies them
    values: list[float]
    ratios: list[float]  # to the Go server, repetition by repetition

    @property
    def verdict(self) -> str:
        """The limit, and whether it was met."""
        for limits, values, prefix in (
            (self.figure.ratio, self.ratios, "×"),
            (self.figure.target, self.values, ""),
        ):
            if limits and self.peer in limits and values:
                limit = limits[self.peer]
                more = self.figure.more_is_better
                is_met = median(values) >= limit if more else median(values) <= limit
                sign = "≥" if more else "≤"
                return f"{sign} {prefix}{readable(limit)} {'✓' if is_met else '✗'}"
        return ""


def rows(results: Results) -> Iterator[Row]:
    """Yield all measured figures, in the order of the report."""
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
            go = by_place.get((figure.name, GO, size, accounts), {})
            ratios = [
                median(values) / median(go[repetition])
                for repetition, values in by_place[place].items()
                if repetition in go and median(go[repetition])
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
