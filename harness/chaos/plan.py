"""The plan of faults, drawn from the seed before anything starts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class FaultKind:
    """A fault that can happen, its weight among the others, and how long it lasts."""

    name: str
    track: str  # faults on one track don't overlap; those on different tracks may
    weight: float
    min_seconds: float = 0.0
    max_seconds: float = 0.0
    needs: str = ""  # what only some runs have: "proxies", "pgbouncer"
    # Whose updates it may hold up until it ends. Nobody's: they arrive in time nevertheless.
    holds_up: Literal["everybody", "its server", "nobody"] = "nobody"


KINDS: Final = [
    FaultKind("server killed", "servers", 8, 0, 3, holds_up="its server"),
    FaultKind("server terminated", "servers", 6, 0, 2, holds_up="its server"),
    FaultKind("server frozen", "servers", 4, 1, 8, holds_up="its server"),
    FaultKind("all servers killed", "servers", 1, 0, 1, holds_up="everybody"),
    FaultKind("servers rolled", "servers", 2, 0, 1, holds_up="everybody"),
    FaultKind("Redis stopped", "redis", 6, 0.5, 6),
    FaultKind("Redis frozen", "redis", 6, 0.5, 6),
    FaultKind("Redis restarted", "redis", 6),
    FaultKind("Redis flushed", "redis", 6),
    FaultKind("PostgreSQL restarted", "postgres", 4, 0, 1, holds_up="everybody"),
    FaultKind("PostgreSQL crashed", "postgres", 4, 0, 1, holds_up="everybody"),
    # On this track, because the command needs the database.
    FaultKind("new epoch", "postgres", 1),
    FaultKind("all clients cut", "clients", 4),
    FaultKind("some clients cut", "clients", 12),
    FaultKind("some clients away", "clients", 8, 2, 20),
    FaultKind("producer killed", "producers", 16, 0, 2),
    FaultKind("producer frozen", "producers", 8, 1, 8),
    # At a moment when it holds locks on inboxes.
    FaultKind("numbering frozen", "producers", 6, 2, 12),
    # Between two frames, or in the middle of one.
    FaultKind("frames cut", "frames", 12, 1, 5, needs="proxies", holds_up="everybody"),
    FaultKind("files used up", "files", 5, 1, 5, holds_up="its server"),
    FaultKind("PgBouncer restarted", "pgbouncer", 4, 0, 1, needs="pgbouncer", holds_up="everybody"),
    FaultKind("PgBouncer frozen", "pgbouncer", 3, 1, 6, needs="pgbouncer", holds_up="everybody"),
]


@dataclass(frozen=True)
class Fault:
    at: float  # seconds after the start
    kind: str
    track: str
    seconds: float  # how long it lasts
    target: float  # 0 to 1: picks a process, or is the share of clients


def draw(
    seed: int, faults: int, seconds: float, has: Collection[str] = ("proxies", "pgbouncer")
) -> list[Fault]:
    """
    Return this many faults in order of time, each kind at least once if there are enough.

    has: what the run has of what some kinds need.
    """
    rng = random.Random(seed)
    possible = [kind for kind in KINDS if not kind.needs or kind.needs in has]
    kinds = rng.sample(possible, min(faults, len(possible)))
    kinds += rng.choices(possible, [kind.weight for kind in possible], k=faults - len(kinds))
    drawn = [
        Fault(
            at=round(rng.uniform(0, seconds), 2),
            kind=kind.name,
            track=kind.track,
            seconds=round(rng.uniform(kind.min_seconds, kind.max_seconds), 2),
            target=round(rng.random(), 3),
        )
        for kind in kinds
    ]
    return sorted(drawn, key=lambda fault: fault.at)


def count_by_kind(kinds: Iterable[str]) -> dict[str, int]:
    """Return how often each kind is named, in the order of KINDS."""
    counts = Counter(kinds)
    return {kind.name: counts[kind.name] for kind in KINDS if counts[kind.name]}
