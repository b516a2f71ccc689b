"""The course of a run: a crowd comes and goes, once and again; does the last leave more?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psycopg

from harness.command import Report
from harness.remote import Remote
from harness.services import ServerName, SiteServer, free_port, site_server
from harness.soak import PATH
from harness.soak.crowd import OUTLIVED, Crowd
from harness.surroundings import Surroundings, surroundings
from notifications.servers.base import CLOSE_SECONDS

SERVERS: Final[list[ServerName]] = ["daphne", "uvicorn"]
ARRIVAL: Final = 120.0  # seconds for all to be connected, or to leave
SETTLING: Final = 60.0  # seconds until nothing may be left of those who have gone
LOOK: Final = 0.5  # seconds between two looks
# The allocator gives back what it likes: only whole arenas of which nothing is in use.
MEMORY: Final = 8 * 2**20  # bytes, and
MEMORY_SHARE: Final = 0.05  # of what there was
OBJECTS: Final = 2000  # kept consumers are more than 20,000
BLOCKS: Final = 25_000  # the hub remembers 10,000 ids of messages

Counts = dict[str, int]


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    minutes: float  # that each crowd stays
    rounds: int = 2
    sockets: int = 1000
    accounts: int = 500
    changes_per_second: float = 15
    samples: int = 15  # of each round


@dataclass
class Processes(Surroundings):
    servers: list[SiteServer]
    crowd: Remote

    def held(self, with_objects: bool = False) -> dict[str, Counts]:
        """Return what each server holds, and what they have in Redis and the database."""
        query = f"{PATH}?objects" if with_objects else PATH
        found: dict[str, Counts] = {}
        with self.connect() as connection:
            for number, server in enumerate(self.servers):
                name = _name(number)
                found[name] = server.get_json(query)
                found[name]["database connections"] = _count(
                    connection, "pg_stat_activity WHERE application_name = %s", name
                )
            found["registry"] = {
                "workers": _count(connection, "site_notifications_worker"),
                "connections": _count(connection, "site_notifications_connection"),
            }
        return found


def run(seed: int, size: Size, directory: Path) -> Report:
    """Return what each crowd left, and what differs in the end; logs stay in `directory`."""
    began = time.monotonic()
    rounds: list[dict[str, Counts]] = []
    samples: list[Report] = []
    with _processes(seed, size, directory) as around:
        for number in range(size.rounds):
            samples += [{"round": number + 1, **sample} for sample in _stay(around, size)]
            rounds.append(_settled(around, rounds[0] if rounds else None))
        happened = around.crowd.call("happened")
        said = {_name(n): server.output() for n, server in enumerate(around.servers)}
    left = differences(rounds[0], rounds[-1])
    problems = [f"{name} logged a traceback" for name in said if "Traceback" in said[name]]
    if outlived := happened.get(OUTLIVED):
        problems.append(f"{outlived} sockets outlived their sessions")
    return {
        "seed": seed,
        "size": asdict(size),
        "seconds": round(time.monotonic() - began, 1),
        "happened": happened,
        "rounds": rounds,
        "samples": samples,
        "left": left,
        "problems": problems,
        "passed": not left and not problems,
    }


def differences(before: dict[str, Counts], after: dict[str, Counts]) -> list[str]:
    """Return a line for each count that is higher than before, of some by more than a little."""
    return [
        f"{name}: {count:,} {what} where there were {before[name][what]:,}"
        for name, counts in after.items()
        for what, count in counts.items()
        if count > before[name][what] + _slack(what, before[name][what])
    ]


def _slack(what: str, before: int) -> float:
    if what == "memory":
        return MEMORY + MEMORY_SHARE * before
    return {"objects": OBJECTS, "blocks": BLOCKS}.get(what, 0)


def _stay(around: Processes, size: Size) -> list[Report]:
    """Let the crowd come, churn, and go; return samples of that time."""
    crowd, seconds = around.crowd, 60 * size.minutes
    crowd.call("arrive", size.sockets, ARRIVAL, timeout=ARRIVAL + 10)
    crowd.call("churn", size.changes_per_second)
    began = time.monotonic()
    taken = []
    for number in range(1, size.samples + 1):
        time.sleep(max(0.0, began + seconds * number / size.samples - time.monotonic()))
        taken.append({"at": round(time.monotonic() - began, 1), **around.held()})
    crowd.call("churn", 0)
    crowd.call("leave", ARRIVAL, timeout=ARRIVAL + 10)
    return taken


def _settled(around: Processes, before: dict[str, Counts] | None) -> dict[str, Counts]:
    """Return what is held once nobody's sockets are, or that much is as it was before."""
    deadline = time.monotonic() + SETTLING
    while not _is_empty(around.held()) and time.monotonic() < deadline:
        time.sleep(LOOK)
    # What ends by itself within seconds must count neither as having been there nor as left: a
    # timer holds each connection that the server closed until its peer had the time to take that.
    time.sleep(CLOSE_SECONDS + 1)
    found = around.held(with_objects=True)
    # Nor what is there for a moment, as a periodic task's connection to the database is.
    while before and differences(before, found) and time.monotonic() < deadline:
        time.sleep(LOOK)
        found = around.held(with_objects=True)
    return found


def _is_empty(held: dict[str, Counts]) -> bool:
    return not held["registry"]["connections"] and not any(
        counts.get("sockets") for counts in held.values()
    )


@contextmanager
def _processes(seed: int, size: Size, directory: Path) -> Iterator[Processes]:
    with ExitStack() as stack:
        settings = {"DJANGO_SETTINGS_MODULE": "harness.soak.settings"}
        around = stack.enter_context(surroundings(size.accounts, settings))
        around.put_accounts_in_audiences()
        env = around.env
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
            yield Processes(around.redis, around.postgres, env, servers, crowd)
        finally:
            for number, server in enumerate(servers):
                (directory / f"{_name(number)}.log").write_text(server.output())


def _name(number: int) -> str:
    return f"{SERVERS[number]} {number}"


def _count(connection: psycopg.Connection, source: str, *arguments: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {source}".encode(), arguments).fetchone()
    assert row
    return int(row[0])
