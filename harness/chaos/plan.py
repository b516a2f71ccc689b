"""Which faults happen when: drawn from the seed before anything starts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kind:
    """What can go wrong, how often beside the others, and for how long (seconds)."""

    name: str
    track: str  # faults of one track follow each other, those of several overlap
    weight: float
    shortest: float = 0.0
    longest: float = 0.0


KINDS: Final = [
    Kind("server killed", "servers", 8, 0, 3),
    Kind("server terminated", "servers", 6, 0, 2),
    Kind("server frozen", "servers", 4, 1, 8),
    Kind("all servers killed", "servers", 1, 0, 1),
    Kind("servers rolled", "servers", 2, 0, 1),
    Kind("Redis stopped", "redis", 6, 0.5, 6),
    Kind("Redis frozen", "redis", 6, 0.5, 6),
    Kind("Redis restarted", "redis", 6),
    Kind("Redis flushed", "redis", 6),
    Kind("PostgreSQL restarted", "postgres", 4, 0, 1),
    Kind("PostgreSQL crashed", "postgres", 4, 0, 1),
    # In this track, as the command needs the database.
    Kind("new epoch", "postgres", 1),
    Kind("all clients cut", "clients", 4),
    Kind("some clients cut", "clients", 12),
    Kind("some clients away", "clients", 8, 2, 20),
    Kind("producer killed", "producers", 16, 0, 2),
]


@dataclass(frozen=True)
class Fault:
    at: float  # seconds after the beginning
    kind: str
    track: str
    lasts: float  # seconds
    target: float  # 0 to 1: which of several processes, or which share of the clients


def draw(seed: int, faults: int, seconds: float) -> list[Fault]:
    """Return so many faults in the order of their times: each kind once, if there are enough."""
    chance = random.Random(seed)
    kinds = chance.sample(KINDS, min(faults, len(KINDS)))
    kinds += chance.choices(KINDS, [kind.weight for kind in KINDS], k=faults - len(kinds))
    drawn = [
        Fault(
            at=round(chance.uniform(0, seconds), 2),
            kind=kind.name,
            track=kind.track,
            lasts=round(chance.uniform(kind.shortest, kind.longest), 2),
            target=round(chance.random(), 3),
        )
        for kind in kinds
    ]
    return sorted(drawn, key=lambda fault: fault.at)


def by_kind(kinds: Iterable[str]) -> dict[str, int]:
    """Return how often each kind is among these names, in the order of KINDS."""
    counts = Counter(kinds)
    return {kind.name: counts[kind.name] for kind in KINDS if counts[kind.name]}
