"""A run: the crowd comes and goes several times; does the last round leave more than the first?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psycopg

from harness.backing_services import BackingServices, backing_services
from harness.command import Report
from harness.remote import Remote
from harness.services import ServerName, SiteServer, free_port, site_server
from harness.soak import REPORT_PATH
from harness.soak.crowd import OUTLIVED, Crowd
from notifications.servers.base import CLOSE_SECONDS

SERVERS: Final[list[ServerName]] = ["daphne", "uvicorn"]
ARRIVAL_TIMEOUT_SECONDS: Final = 120.0  # for all clients to connect, or to leave
SETTLE_TIMEOUT_SECONDS: Final = 60.0  # for the servers to forget the clients that left
POLL_SECONDS: Final = 0.5
# The allocator returns whole arenas only, and only when nothing in them is in use.
MAX_MORE_MEMORY: Final = 8 * 2**20  # plus
MAX_MORE_MEMORY_SHARE: Final = 0.05  # of the baseline
MAX_MORE_OBJECTS: Final = 2000  # leaked consumers would be more than 20,000
MAX_MORE_BLOCKS: Final = 25_000  # the hub remembers 10,000 message ids

Counts = dict[str, int]


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    minutes: float  # of each round
    rounds: int = 2
    connections: int = 1000
    accounts: int = 500
    actions_per_second: float = 15
    samples: int = 15  # of each round


@dataclass
class Cluster(BackingServices):
    servers: list[SiteServer]
    crowd: Remote

    def held(self, with_objects: bool = False) -> dict[str, Counts]:
        """Return the counts of each server, and those of the presence tables."""
        query = f"{REPORT_PATH}?objects" if with_objects else REPORT_PATH
        found: dict[str, Counts] = {}
        with self.connect() as connection:
            for number, server in enumerate(self.servers):
                name = _name(number)
                found[name] = server.get_json(query)
                found[name]["database connections"] = _count(
                    connection, "pg_stat_activity WHERE application_name = %s", name
                )
            found["presence"] = {
                "workers": _count(connection, "site_notifications_worker"),
                "connections": _count(connection, "site_notifications_connection"),
            }
        return found


def run(seed: int, size: Size, directory: Path) -> Report:
    """Return the counts after each round and the leaks; logs are kept in `directory`."""
    started_at = time.monotonic()
    rounds: list[dict[str, Counts]] = []
    samples: list[Report] = []
    with _running_cluster(seed, size, directory) as cluster:
        for number in range(size.rounds):
            samples += [{"round": number + 1, **sample} for sample in _stay(cluster, size)]
            rounds.append(_settled(cluster, rounds[0] if rounds else None))
        counts = cluster.crowd.call("action_counts")
        logs = {_name(n): server.output() for n, server in enumerate(cluster.servers)}
    leaks = differences(rounds[0], rounds[-1])
    problems = [f"{name} logged a traceback" for name in logs if "Traceback" in logs[name]]
    if outlived := counts.get(OUTLIVED):
        problems.append(f"{outlived} connections outlived their sessions")
    return {
        "seed": seed,
        "size": asdict(size),
        "seconds": round(time.monotonic() - started_at, 1),
        "counts": counts,
        "rounds": rounds,
        "samples": samples,
        "leaks": leaks,
        "problems": problems,
        "passed": not leaks and not problems,
    }


def differences(before: dict[str, Counts], after: dict[str, Counts]) -> list[str]:
    """Return a line for each count that exceeds the baseline and its slack."""
    return [
        f"{name}: {count:,} {key}, up from {before[name][key]:,}"
        for name, counts in after.items()
        for key, count in counts.items()
        if count > before[name][key] + _slack(key, before[name][key])
    ]


def _slack(key: str, before: int) -> float:
    if key == "memory":
        return MAX_MORE_MEMORY + MAX_MORE_MEMORY_SHARE * before
    return {"objects": MAX_MORE_OBJECTS, "blocks": MAX_MORE_BLOCKS}.get(key, 0)


def _stay(cluster: Cluster, size: Size) -> list[Report]:
    """Let the crowd arrive, churn and leave; return samples of the counts meanwhile."""
    crowd, seconds = cluster.crowd, 60 * size.minutes
    crowd.call(
        "arrive", size.connections, ARRIVAL_TIMEOUT_SECONDS, timeout=ARRIVAL_TIMEOUT_SECONDS + 10
    )
    crowd.call("churn", size.actions_per_second)
    started_at = time.monotonic()
    taken = []
    for number in range(1, size.samples + 1):
        time.sleep(max(0.0, started_at + seconds * number / size.samples - time.monotonic()))
        taken.append({"at": round(time.monotonic() - started_at, 1), **cluster.held()})
    crowd.call("churn", 0)
    crowd.call("leave", ARRIVAL_TIMEOUT_SECONDS, timeout=ARRIVAL_TIMEOUT_SECONDS + 10)
    return taken


def _settled(cluster: Cluster, before: dict[str, Counts] | None) -> dict[str, Counts]:
    """Return the counts once no connection is left and nothing is above the baseline `before`."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_SECONDS
    while not _is_empty(cluster.held()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    # Objects that go away within seconds must count neither in the baseline nor as leaks. A timer
    # holds each connection that the server closed, so that the peer has time to close it too.
    time.sleep(CLOSE_SECONDS + 1)
    found = cluster.held(with_objects=True)
    # Nor must short-lived ones, such as a periodic task's database connection.
    while before and differences(before, found) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        found = cluster.held(with_objects=True)
    return found


def _is_empty(held: dict[str, Counts]) -> bool:
    return not held["presence"]["connections"] and not any(
        counts.get("connections") for counts in held.values()
    )


@contextmanager
def _running_cluster(seed: int, size: Size, directory: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        settings = {"DJANGO_SETTINGS_MODULE": "harness.soak.settings"}
        backing = stack.enter_context(backing_services(size.accounts, settings))
        backing.assign_audiences()
        env = backing.env
        servers = [
            stack.enter_context(
                site_server(
                    free_port(),
                    {**env, "PGAPPNAME": _name(n)},
                    kind,
                    application="harness.soak.site",
                )
            )
            for n, kind in enumerate(SERVERS)
        ]
        ports = [server.port for server in servers]
        crowd = stack.enter_context(Remote(Crowd, env, ports, size.accounts, seed))
        try:
            yield Cluster(backing.redis, backing.postgres, env, servers, crowd)
        finally:
            for number, server in enumerate(servers):
                (directory / f"{_name(number)}.log").write_text(server.output())


def _name(number: int) -> str:
    return f"{SERVERS[number]} {number}"


def _count(connection: psycopg.Connection, source: str, *arguments: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {source}".encode(), arguments).fetchone()
    assert row
    return int(row[0])
