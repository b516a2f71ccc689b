"""Inject the planned faults: one thread per track, so that faults of several kinds overlap."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from harness.chaos.cluster import Cluster
from harness.chaos.plan import Fault
from harness.services import Service, manage

S = TypeVar("S", bound=Service)


class Outages:
    """When updates could not be sent: the database was down, or a server frozen."""

    def __init__(self) -> None:
        self.database_ends: list[float] = []  # monotonic seconds
        self.freeze_ends: dict[int, list[float]] = {}  # by the server's port

    def latest_end(self, port: int, before: float) -> float:
        """Return when the last outage of the server on this port ended, before this moment."""
        ends = [*self.database_ends, *self.freeze_ends.get(port, ())]
        return max((end for end in ends if end <= before), default=0.0)


class Faults:
    def __init__(self, cluster: Cluster, plan: Sequence[Fault]) -> None:
        self._cluster = cluster
        self._plan = plan
        self.injected: list[dict[str, Any]] = []  # times are seconds since the start
        self.started_at = 0.0
        self.failures: list[str] = []
        self.outages = Outages()

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
                seconds = [round(t - self.started_at, 2) for t in (start, time.monotonic())]
                self.injected.append({"kind": fault.kind, "from": seconds[0], "to": seconds[1]})

    def _inject(self, fault: Fault) -> None:
        cluster = self._cluster
        server = _one_of(cluster.servers, fault.target)
        producer = _one_of(cluster.producers, fault.target)
        match fault.kind:
            case "server killed":
                server.kill()
                time.sleep(fault.seconds)
                server.start()
            case "server terminated":
                server.stop()
                time.sleep(fault.seconds)
                server.start()
            case "server frozen":
                server.freeze()
                time.sleep(fault.seconds)
                server.thaw()
                self.outages.freeze_ends.setdefault(server.port, []).append(time.monotonic())
            case "all servers killed":
                for each in cluster.servers:
                    each.kill()
                time.sleep(fault.seconds)
                for each in cluster.servers:
                    each.start()
            case "servers rolled":  # one after another, as a deploy does
                for each in cluster.servers:
                    each.stop()
                    time.sleep(fault.seconds)
                    each.start()
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
            case unknown:
                raise ValueError(f"No such fault: {unknown}")

    @contextmanager
    def _without_database(self, seconds: float) -> Iterator[None]:
        yield
        time.sleep(seconds)
        self._cluster.postgres.start()
        self.outages.database_ends.append(time.monotonic())

    def _cut(self, share: float, min_seconds_away: float) -> None:
        self._cluster.clients.call("cut", share, min_seconds_away)


def _one_of(processes: Sequence[S], target: float) -> S:
    return processes[int(target * len(processes))]
