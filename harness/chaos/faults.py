"""Carrying out a plan: one thread for each track, so that faults of several kinds overlap."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from harness.chaos.plan import Fault
from harness.chaos.processes import Processes
from harness.services import Service, manage

S = TypeVar("S", bound=Service)


class Outages:
    """When nobody could be told anything: the database away, or a server frozen."""

    def __init__(self) -> None:
        self.database_ends: list[float] = []  # monotonic seconds
        self.freeze_ends: dict[int, list[float]] = {}  # by the server's port

    def latest_end(self, port: int, before: float) -> float:
        """Return the end of the last one that a server had before this moment."""
        ends = [*self.database_ends, *self.freeze_ends.get(port, ())]
        return max((end for end in ends if end <= before), default=0.0)


class Faults:
    def __init__(self, around: Processes, plan: Sequence[Fault]) -> None:
        self._around = around
        self._plan = plan
        self.happened: list[dict[str, Any]] = []  # with seconds since the beginning
        self.began = 0.0
        self.failures: list[str] = []
        self.outages = Outages()

    def start(self) -> None:
        self.began = time.monotonic()
        tracks = {fault.track for fault in self._plan}
        self._threads = [
            threading.Thread(target=self._follow, args=[track], daemon=True)
            for track in sorted(tracks)
        ]
        for thread in self._threads:
            thread.start()

    def are_over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def _follow(self, track: str) -> None:
        for fault in self._plan:
            if fault.track == track:
                time.sleep(max(0.0, self.began + fault.at - time.monotonic()))
                start = time.monotonic()
                try:
                    self._happen(fault)
                except Exception as error:
                    self.failures.append(f"{fault}: {type(error).__name__}: {error}")
                    return
                seconds = [round(t - self.began, 2) for t in (start, time.monotonic())]
                self.happened.append({"kind": fault.kind, "from": seconds[0], "to": seconds[1]})

    def _happen(self, fault: Fault) -> None:
        around = self._around
        server = _one_of(around.servers, fault.target)
        producer = _one_of(around.producers, fault.target)
        match fault.kind:
            case "server killed":
                server.kill()
                time.sleep(fault.lasts)
                server.start()
            case "server terminated":
                server.stop()
                time.sleep(fault.lasts)
                server.start()
            case "server frozen":
                server.freeze()
                time.sleep(fault.lasts)
                server.thaw()
                self.outages.freeze_ends.setdefault(server.port, []).append(time.monotonic())
            case "all servers killed":
                for each in around.servers:
                    each.kill()
                time.sleep(fault.lasts)
                for each in around.servers:
                    each.start()
            case "servers rolled":  # one after the other, as a deploy does
                for each in around.servers:
                    each.stop()
                    time.sleep(fault.lasts)
                    each.start()
            case "Redis stopped":
                around.redis.stop()
                time.sleep(fault.lasts)
                around.redis.start()
            case "Redis frozen":
                around.redis.freeze()
                time.sleep(fault.lasts)
                around.redis.thaw()
            case "Redis restarted":
                around.redis.kill()
                around.redis.start()
            case "Redis flushed":
                around.redis.flush()
            case "PostgreSQL restarted":
                with self._without_database(fault.lasts):
                    around.postgres.stop()
            case "PostgreSQL crashed":
                with self._without_database(fault.lasts):
                    around.postgres.kill()
            case "new epoch":
                manage("notification_maintenance", "--new-epoch", env=around.env)
            case "all clients cut":
                self._cut(1, 0)
            case "some clients cut":
                self._cut(fault.target, 0)
            case "some clients away":
                self._cut(fault.target / 2, fault.lasts)
            case "producer killed":
                producer.kill()
                time.sleep(fault.lasts)
                producer.start()
            case unknown:
                raise ValueError(f"No such fault: {unknown}")

    @contextmanager
    def _without_database(self, seconds: float) -> Iterator[None]:
        yield
        time.sleep(seconds)
        self._around.postgres.start()
        self.outages.database_ends.append(time.monotonic())

    def _cut(self, share: float, away: float) -> None:
        self._around.clients.call("cut", share, away)


def _one_of(processes: Sequence[S], target: float) -> S:
    return processes[int(target * len(processes))]
