"""Inject the planned faults: one thread per track, so that faults of several kinds overlap."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import psycopg

from harness.chaos.cluster import MAX_FILES, Cluster, Producer, limit_files
from harness.chaos.crowd import crowd
from harness.chaos.plan import KINDS, Fault
from harness.services import SiteServer, manage

T = TypeVar("T")

HOLDS_UP: Final = {kind.name: kind.holds_up for kind in KINDS}
MAX_ATTEMPTS_TO_FREEZE: Final = 60  # while a producer numbers
# Whether a process is in a transaction that locks inboxes, and does not go on with it.
NUMBERING: Final = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity a JOIN pg_locks l USING (pid)
    WHERE a.application_name = %s AND a.state = 'idle in transaction'
      AND l.relation = 'site_notifications_inbox'::regclass
)
"""


@dataclass(frozen=True, slots=True)
class Outage:
    """An injected fault; times are monotonic seconds."""

    kind: str
    start: float
    end: float
    port: int | None  # of the server that it held up; None: all of them


class Outages:
    """What was injected, and what of it could hold up updates."""

    def __init__(self) -> None:
        self.all: list[Outage] = []

    def add(self, kind: str, start: float, end: float, port: int | None = None) -> None:
        self.all.append(Outage(kind, start, end, port))

    def latest_end(self, port: int, before: float) -> float:
        """Return when the last outage of the server on this port ended, before this moment."""
        ends = [each.end for each in self.all if self._holds_up(each, port) and each.end <= before]
        return max(ends, default=0.0)

    def latest_kind(self, after: float, before: float) -> str:
        """Return the kind of the fault that ended last in this time, "none" if there is none."""
        ended = [each for each in self.all if after < each.end <= before]
        return max(ended, key=lambda each: each.end).kind if ended else "none"

    def _holds_up(self, outage: Outage, port: int) -> bool:
        match HOLDS_UP[outage.kind]:
            case "everybody":
                return True
            case "its server":
                return outage.port == port
        return False


class Faults:
    def __init__(self, cluster: Cluster, plan: Sequence[Fault]) -> None:
        self._cluster = cluster
        self._plan = plan
        self._rng = random.Random(len(plan))
        self.injected: list[dict[str, Any]] = []  # times are seconds since the start
        self.started_at = 0.0
        self.failures: list[str] = []
        self.outages = Outages()
        self.frozen_while_numbering = 0

    def start(self) -> None:
        self.started_at = time.monotonic()
        tracks = {fault.track for fault in self._plan}
        self._threads = [
            threading.Thread(target=self._run_track, args=[track], daemon=True)
            for track in sorted(tracks)
        ]
        for thread in self._threads:
            thread.start()

    def are_over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def _run_track(self, track: str) -> None:
        for fault in self._plan:
            if fault.track == track:
                time.sleep(max(0.0, self.started_at + fault.at - time.monotonic()))
                start = time.monotonic()
                try:
                    self._inject(fault)
                except Exception as error:
                    self.failures.append(f"{fault}: {type(error).__name__}: {error}")
                    return
                end = time.monotonic()
                port = _one_of(self._cluster.client_ports, fault.target)
                self.outages.add(fault.kind, start, end, port)
                seconds = [round(t - self.started_at, 2) for t in (start, end)]
                self.injected.append({"kind": fault.kind, "from": seconds[0], "to": seconds[1]})

    def _inject(self, fault: Fault) -> None:
        cluster = self._cluster
        server = _one_of(cluster.servers, fault.target)
        producer = _one_of(cluster.producers, fault.target)
        match fault.kind:
            case "server killed":
                server.kill()
                time.sleep(fault.seconds)
                self._start(server)
            case "server terminated":
                server.stop()
                time.sleep(fault.seconds)
                self._start(server)
            case "server frozen":
                server.freeze()
                time.sleep(fault.seconds)
                server.thaw()
            case "all servers killed":
                for each in cluster.servers:
                    each.kill()
                time.sleep(fault.seconds)
                for each in cluster.servers:
                    self._start(each)
            case "servers rolled":  # one after another, as a deploy does
                for each in cluster.servers:
                    each.stop()
                    time.sleep(fault.seconds)
                    self._start(each)
            case "Redis stopped":
                cluster.redis.stop()
                time.sleep(fault.seconds)
                cluster.redis.start()
            case "Redis frozen":
                cluster.redis.freeze()
                time.sleep(fault.seconds)
                cluster.redis.thaw()
            case "Redis restarted":
                cluster.redis.kill()
                cluster.redis.start()
            case "Redis flushed":
                cluster.redis.flush()
            case "PostgreSQL restarted":
                with self._without_database(fault.seconds):
                    cluster.postgres.stop()
            case "PostgreSQL crashed":
                with self._without_database(fault.seconds):
                    cluster.postgres.kill()
            case "new epoch":
                manage("notification_maintenance", "--new-epoch", env=cluster.env)
            case "all clients cut":
                self._cut(1, 0)
            case "some clients cut":
                self._cut(fault.target, 0)
            case "some clients away":
                self._cut(fault.target / 2, fault.seconds)
            case "producer killed":
                producer.kill()
                time.sleep(fault.seconds)
                producer.start()
            case "producer frozen":
                producer.freeze()
                time.sleep(fault.seconds)
                producer.thaw()
            case "numbering frozen":
                self._freeze_while_numbering(producer)
                time.sleep(fault.seconds)
                producer.thaw()
            case "frames cut":
                assert cluster.proxies
                cluster.proxies.call("cut", fault.seconds)
            case "files used up":
                with crowd(server.port, MAX_FILES, cluster.accounts):
                    time.sleep(fault.seconds)
            case "PgBouncer restarted":
                assert cluster.pgbouncer
                cluster.pgbouncer.kill()
                time.sleep(fault.seconds)
                cluster.pgbouncer.start()
            case "PgBouncer frozen":
                assert cluster.pgbouncer
                cluster.pgbouncer.freeze()
                time.sleep(fault.seconds)
                cluster.pgbouncer.thaw()
            case unknown:
                raise ValueError(f"No such fault: {unknown}")

    @contextmanager
    def _without_database(self, seconds: float) -> Iterator[None]:
        yield
        time.sleep(seconds)
        self._cluster.postgres.start()

    def _start(self, server: SiteServer) -> None:
        server.start()
        if self._cluster.has_few_files:
            limit_files(server)

    def _freeze_while_numbering(self, producer: Producer) -> None:
        """Freeze it while it holds locks on inboxes, or at a random moment if none is found."""
        for _ in range(MAX_ATTEMPTS_TO_FREEZE):
            producer.freeze()
            time.sleep(0.03)  # until PostgreSQL has answered its last query
            if self._is_numbering(producer):
                self.frozen_while_numbering += 1
                return
            producer.thaw()
            time.sleep(self._rng.uniform(0.005, 0.1))
        producer.freeze()

    def _is_numbering(self, producer: Producer) -> bool:
        try:
            with self._cluster.connect() as connection:
                row = connection.execute(NUMBERING, [producer.name]).fetchone()
        except psycopg.OperationalError:
            return False  # PostgreSQL is away as well
        return bool(row and row[0])

    def _cut(self, share: float, min_seconds_away: float) -> None:
        self._cluster.clients.call("cut", share, min_seconds_away)


def _one_of(choices: Sequence[T], target: float) -> T:
    return choices[int(target * len(choices))]
