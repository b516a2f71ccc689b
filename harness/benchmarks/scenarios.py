"""
The scenarios: each measures figures of one server with many connected clients.

CPU is that of all processes involved (servers, Redis, PostgreSQL with its
children), without the caller and the load generator. A missing or duplicated
message is a problem, which fails the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from harness.benchmarks import BLOCKED_PATH
from harness.benchmarks.callers import count_calls
from harness.benchmarks.load import LoadGenerator
from harness.benchmarks.measure import Meter, median, memory, percentile
from harness.benchmarks.pages import read_pages
from harness.benchmarks.peers import RunningPeer
from harness.remote import Remote

SPARE_ACCOUNTS: Final = 300  # with sessions, in addition to those of the connected clients
IDLE_SECONDS: Final = 2.0  # to measure the idle CPU, which is then subtracted
LONG_IDLE_SECONDS: Final = 8.5  # almost a heartbeat interval, to include the periodic check
REST_SECONDS: Final = 1.5  # from the last handshake until memory is measured
TARGETED_SECONDS: Final = 3.0
WARM_UP_NOTIFICATIONS: Final = 200
BROADCAST_TIMEOUT_SECONDS: Final = 60.0  # for one broadcast of a slow server
PROBES: Final = 100  # clients
PROBE_INTERVAL_SECONDS: Final = 0.001
FLOOD_MESSAGES, FLOOD_MESSAGE_SIZE = 2000, 8000  # sent to the slow client
STALLED_BROADCAST_TIMEOUT_SECONDS: Final = 4.0  # for a broadcast that may never end
MANY_ACCOUNTS: Final = 100_000

Sample = dict[str, Any]


@dataclass
class Turn:
    """One server at one size, once: the scenarios' context, and the figures that they record."""

    running: RunningPeer
    size: int
    repetition: int
    accounts: int
    load: Remote
    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def record(self, figure: str, value: float) -> None:
        self.samples.append(
            {
                "figure": figure,
                "peer": self.running.peer.name,
                "size": self.size,
                "accounts": self.accounts,
                "repetition": self.repetition,
                "value": value,
            }
        )

    def complain(self, problem: str) -> None:
        self.problems.append(f"{self.running.peer.title}, {self.size} connections: {problem}")

    def check(self, counted: dict[str, Any], each: int, name: str) -> bool:
        """Return whether each client received this many messages; record a problem if not."""
        is_right = counted["min"] == counted["max"] == each and not counted["lost"]
        if not is_right:
            self.complain(
                f"{name}: {counted['min']} to {counted['max']} messages instead of {each} "
                f"per connection, {counted['lost']} connections lost"
            )
        return is_right

    @property
    def is_slow(self) -> bool:
        return self.running.peer.is_slow

    def meter(self) -> Meter:
        return Meter(self.running.pids)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Suppress heartbeats during a measurement of less than a heartbeat interval."""
        if self.running.peer.needs_heartbeats:
            self.load.call("beat")
        self.load.call("be_quiet", True)
        try:
            yield
        finally:
            self.load.call("be_quiet", False)

    def idle_rate(self, seconds: float = IDLE_SECONDS) -> float:
        """Return the CPU seconds per idle second."""
        meter = self.meter()
        time.sleep(seconds)
        cpu, passed = meter.read()
        return cpu / passed

    def broadcast(
        self, times: int = 1, timeout: float = BROADCAST_TIMEOUT_SECONDS
    ) -> dict[str, Any]:
        """Broadcast; return the counts of the load generator and the CPU used."""
        self.load.call("forget")
        meter = self.meter()
        self.load.begin("collect", times * self.size, timeout)
        called = self.running.caller.call("broadcast", times, timeout=timeout + 10)
        counted: dict[str, Any] = self.load.finish(timeout + 10)
        cpu, _ = meter.read()
        return {
            **counted,
            "server_cpu": cpu,
            "caller_cpu": called["cpu"],
            "started_at": called["started_at"],
            "passed": counted["last_at"] - called["started_at"],
        }


# --- With all clients connected; `connect` itself measures the handshakes


def connect(turn: Turn, wanted: set[str]) -> None:
    """Connect all clients, the first tenth to warm up."""
    warm = max(1, turn.size // 10)
    requests = turn.running.requests(1, turn.size)
    _arrive(turn, requests[:warm])
    if "memory" in wanted:
        time.sleep(REST_SECONDS)
    before = memory(turn.running.server_pids)
    meter = turn.meter()
    arrived = _arrive(turn, requests[warm:])
    cpu, _ = meter.read()
    rest = turn.size - warm
    if "handshakes" in wanted:
        turn.record("handshake CPU", cpu / rest * 1000)
        turn.record("handshakes per second", rest / arrived["seconds"])
    if "memory" in wanted:
        time.sleep(REST_SECONDS)
        after = memory(turn.running.server_pids)
        for kind, figure in (("Rss", "RSS per connection"), ("Pss", "PSS per connection")):
            turn.record(figure, (after[kind] - before[kind]) / rest / 1024)


def _arrive(turn: Turn, requests: Sequence[tuple[int, bytes]]) -> dict[str, Any]:
    return _arrived(turn, requests, turn.load.call("connect", requests, timeout=180))


def _arrived(
    turn: Turn, requests: Sequence[tuple[int, bytes]], arrived: dict[str, Any]
) -> dict[str, Any]:
    if arrived["connected"] != len(requests):
        turn.complain(f"only {arrived['connected']} of {len(requests)} connected")
    return arrived


def idle(turn: Turn) -> None:
    with turn.quiet():
        turn.record("idle CPU", turn.idle_rate(LONG_IDLE_SECONDS) * 100)


def heartbeat(turn: Turn) -> None:
    rounds = 1 if turn.is_slow else 4
    with turn.quiet():
        rate = turn.idle_rate()
        meter = turn.meter()
        beaten = turn.load.call("beat", rounds)
        cpu, passed = meter.read()
    if beaten["replied"] != beaten["sent"]:
        turn.complain(f"{beaten['answered']} of {beaten['sent']} heartbeats answered")
    turn.record("heartbeat CPU", (cpu - rate * passed) / beaten["sent"] * 100_000)


def broadcast(turn: Turn) -> None:
    with turn.quiet():
        for _ in range(1 if turn.is_slow else 5):
            counted = turn.broadcast()
            turn.check(counted, 1, "broadcast")
            turn.record("broadcast CPU", counted["server_cpu"] / turn.size * 100_000)
            turn.record("last delivery", counted["passed"] * 1000)
            turn.record("load generator busy", 100 * counted["cpu"] / counted["seconds"])


def sustained(turn: Turn) -> None:
    times = 2 if turn.is_slow else 20
    with turn.quiet():
        counted = turn.broadcast(times)
    if turn.check(counted, times, "broadcasts in a row"):
        deliveries = times * turn.size
        turn.record("sustained deliveries", deliveries / counted["passed"])
        turn.record("sustained CPU", counted["server_cpu"] / deliveries * 100_000)


def loop(turn: Turn) -> None:
    """How long a broadcast blocks the event loop and delays other clients' heartbeats."""
    latencies: list[float] = []
    with Remote(LoadGenerator) as others, ThreadPoolExecutor(1) as thread, turn.quiet():
        others.call("connect", turn.running.requests(turn.size + 1, PROBES))
        broadcasts = 1 if turn.is_slow else 3
        others.begin(
            "probe", BROADCAST_TIMEOUT_SECONDS if turn.is_slow else 3.0, PROBE_INTERVAL_SECONDS
        )
        longest = None
        if turn.running.peer.is_ours:
            longest = thread.submit(turn.running.get_json, f"{BLOCKED_PATH}?seconds=2.5")
        time.sleep(0.3)
        broadcast_times = []
        for _ in range(broadcasts):
            counted = turn.broadcast()
            turn.check(counted, 1, "broadcast during heartbeats")
            broadcast_times.append((counted["started_at"], counted["last_at"]))
        for sent_at, latency in others.finish(BROADCAST_TIMEOUT_SECONDS + 10):
            if any(begin <= sent_at <= end for begin, end in broadcast_times):
                latencies.append(latency)
        if longest:
            turn.record("loop blocked", longest.result()["longest"] * 1000)
    turn.record("heartbeat p99 meanwhile", percentile(latencies, 0.99) * 1000)


def reconnect(turn: Turn) -> None:
    """All connections are cut at once, and all clients reconnect while visitors load pages."""
    requests = turn.running.requests(1, turn.size)
    turn.load.call("cut")
    meter = turn.meter()
    turn.load.begin("connect", requests, timeout=180)
    if turn.running.peer.is_ours:
        seconds, problems = read_pages(turn.running, turn.size, until=turn.load.is_finished)
        turn.record("reconnect: page p50", percentile(seconds, 0.5) * 1000)
        turn.record("reconnect: page p99", percentile(seconds, 0.99) * 1000)
        for problem in problems:
            turn.complain(f"a page failed while all clients reconnected: {problem}")
    arrived = _arrived(turn, requests, turn.load.finish(190))
    cpu, _ = meter.read()
    turn.record("reconnect: seconds", arrived["seconds"])
    turn.record("reconnect: CPU", cpu / turn.size * 1000)


def slow_client(turn: Turn) -> None:
    """One client stops reading, and is sent many messages."""
    rounds = range(1 if turn.is_slow else 5)
    account = turn.size + PROBES + 1
    with Remote(LoadGenerator) as sleeper:
        sleeper.call("connect", turn.running.requests(account, 1), receive_buffer=4096)
        sleeper.call("mute")
        with turn.quiet():
            before = median([turn.broadcast()["passed"] for _ in rounds])
        size = memory(turn.running.server_pids)["Rss"]
        turn.running.caller.call("flood", account, FLOOD_MESSAGES, FLOOD_MESSAGE_SIZE)
        time.sleep(0.5)
        grown = memory(turn.running.server_pids)["Rss"] - size
        passed, delivered = [], []
        with turn.quiet():
            for _ in rounds:
                counted = turn.broadcast(
                    timeout=BROADCAST_TIMEOUT_SECONDS
                    if turn.is_slow
                    else STALLED_BROADCAST_TIMEOUT_SECONDS
                )
                delivered.append(counted["messages"] / turn.size)
                passed.append(counted["passed"])
                if counted["messages"] < turn.size:
                    break  # it will not recover
    turn.record("delivered beside a slow client", 100 * min(delivered))
    if min(delivered) == 1:
        turn.record("slow client: latency", median(passed) / before)
    turn.record("slow client: memory", grown / 2**20)
    if turn.running.peer.is_ours and min(delivered) != 1:
        turn.complain(f"a slow client delays {1 - min(delivered):.0%} of the deliveries to others")


# --- To one account at a time


def targeted(turn: Turn) -> None:
    for rate in (200, 1000):
        _measure_single(turn, "send_to_accounts", rate, f"targeted {rate}/s")


def persisted(turn: Turn) -> None:
    turn.running.caller.call("warm_up", list(range(1, WARM_UP_NOTIFICATIONS + 1)))
    _measure_single(turn, "notify", 200, "persisted 200/s")


def _measure_single(turn: Turn, method: str, rate: int, name: str) -> None:
    accounts = list(range(1, turn.size + 1))
    expected = count_calls(rate, TARGETED_SECONDS)
    with turn.quiet():
        idle_rate = turn.idle_rate(IDLE_SECONDS / 2)
        turn.load.call("forget")
        meter = turn.meter()
        turn.load.begin("collect", expected, BROADCAST_TIMEOUT_SECONDS, timed=True)
        per_second = turn.running.caller.call(method, accounts, rate, TARGETED_SECONDS)
        counted = turn.load.finish(BROADCAST_TIMEOUT_SECONDS + 10)
        cpu, passed = meter.read()
    if counted["messages"] != expected:
        turn.complain(f"{name}: {counted['messages']} of {expected} arrived")
    turn.record(f"{name}: rate", per_second)
    turn.record(f"{name}: p50", percentile(counted["latencies"], 0.5) * 1000)
    turn.record(f"{name}: p99", percentile(counted["latencies"], 0.99) * 1000)
    turn.record(f"{name}: CPU", (cpu - idle_rate * passed) / expected * 10_000)


# --- With many accounts in the database


def many(turn: Turn) -> None:
    """One call notifies 100,000 accounts, of which only the connected clients are online."""
    turn.load.call("forget")
    turn.load.begin("collect", turn.size, BROADCAST_TIMEOUT_SECONDS)
    called = turn.running.caller.call(
        "notify_many", 1, MANY_ACCOUNTS, timeout=BROADCAST_TIMEOUT_SECONDS * 2
    )
    counted = turn.load.finish(BROADCAST_TIMEOUT_SECONDS + 10)
    turn.check(counted, 1, f"notify_accounts of {MANY_ACCOUNTS:,}")
    turn.record("many: rows/s to the commit", MANY_ACCOUNTS / called["commit"])
    turn.record("many: rows/s until published", MANY_ACCOUNTS / called["published"])
    turn.record("many: caller's memory", called["memory"] / 2**20)
    turn.record("many: last delivery", counted["last_at"] - called["started_at"])


def million(turn: Turn) -> None:
    with turn.quiet():
        turn.broadcast()  # warm-up: the caller imports and connects
        counted = turn.broadcast()
    turn.check(counted, 1, "broadcast")
    turn.record("million: last delivery", counted["passed"] * 1000)
    turn.record("million: CPU", counted["server_cpu"] / turn.size * 100_000)


def accounts(turn: Turn) -> None:
    """Whether a process costs more when the database has more accounts."""
    with turn.quiet():
        turn.record("accounts: idle CPU", turn.idle_rate(LONG_IDLE_SECONDS / 2) * 100)
        for _ in range(5):
            counted = turn.broadcast()
            turn.check(counted, 1, "broadcast")
            turn.record("accounts: broadcast CPU", counted["server_cpu"] / turn.size * 100_000)


@dataclass(frozen=True)
class Scenario:
    """
    sizes: numbers of connections.
    peers: names of servers; None for all.
    repeat: the maximum number of repetitions.
    accounts: numbers of accounts in the database; empty for as many as the clients need.
    """

    name: str
    run: Callable[[Turn], None] | None
    sizes: tuple[int, ...]
    peers: frozenset[str] | None = None
    repeat: int = 100
    accounts: tuple[int, ...] = ()


OURS: Final = frozenset({"daphne", "uvicorn"})
GROWING: Final = OURS | {"go"}
SINGLE: Final = GROWING | {"plain", "node"}  # of one process
FAST: Final = GROWING | {"uvicorn2"}

# In the order in which they are run.
SCENARIOS: Final = [
    Scenario("handshakes", None, (5000,), SINGLE),
    Scenario("memory", None, (5000,), SINGLE),
    Scenario("memory", None, (10_000,), GROWING),
    Scenario("idle", idle, (5000,), SINGLE),
    Scenario("heartbeat", heartbeat, (5000,), SINGLE),
    Scenario("broadcast", broadcast, (5000,)),
    Scenario("broadcast", broadcast, (10_000,), FAST),
    Scenario("sustained", sustained, (5000,)),
    Scenario("sustained", sustained, (10_000,), FAST),
    Scenario("growth", broadcast, (1000, 2000), GROWING),
    Scenario("growth", broadcast, (15_000,), GROWING, repeat=3),
    Scenario("loop", loop, (10_000,), FAST),
    Scenario("targeted", targeted, (2000,), SINGLE),
    Scenario("persisted", persisted, (2000,), OURS),
    Scenario("reconnect", reconnect, (5000,), SINGLE),
    Scenario("slow", slow_client, (5000,), SINGLE, repeat=3),
    Scenario("many", many, (2000,), OURS, 5, (110_000,)),
    Scenario("million", million, (5000,), OURS, 5, (1_000_000,)),
    Scenario("accounts", accounts, (1000,), OURS, 3, (1300, 10_000, 100_000, 1_000_000)),
]
