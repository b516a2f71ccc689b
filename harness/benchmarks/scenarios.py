"""
What is measured: each scenario takes figures of one server with its crowd of sockets.

CPU is that of all processes involved (servers, Redis, PostgreSQL with its
children) and not that of the caller and the load generator. A message that is
missing or comes twice is no figure but a problem, which fails the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from harness.benchmarks import HELD_PATH
from harness.benchmarks.callers import how_many
from harness.benchmarks.load import LoadGenerator
from harness.benchmarks.measure import Meter, median, memory, percentile
from harness.benchmarks.pages import read_pages
from harness.benchmarks.peers import Running
from harness.remote import Remote

SPARE: Final = 300  # accounts with sessions beside those of the crowd
IDLE: Final = 2.0  # seconds at rest, to know what is not due to what is measured
LONG_IDLE: Final = 8.5  # seconds, nearly a heartbeat interval: with the periodic check
REST: Final = 1.5  # seconds from the last handshake until memory is looked at
TARGETED_SECONDS: Final = 3.0
WARM: Final = 200  # notifications before those that count
PATIENCE: Final = 60.0  # seconds for one broadcast of a slow server
PROBES: Final = 100  # sockets
PROBE_EVERY: Final = 0.001  # seconds
STUCK_TIMES, STUCK_SIZE = 2000, 8000  # what the slow reader is sent, in bytes
STUCK_PATIENCE: Final = 4.0  # seconds for a broadcast that may never end
MANY: Final = 100_000  # accounts

Sample = dict[str, Any]


@dataclass
class Turn:
    """One server with its crowd, once: what the scenarios need and where they leave figures."""

    running: Running
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
        self.problems.append(f"{self.running.peer.title}, {self.size} sockets: {problem}")

    def check(self, counted: dict[str, Any], each: int, what: str) -> bool:
        """Whether each socket got so many messages; if not, that is a problem."""
        right = counted["least"] == counted["most"] == each and not counted["lost"]
        if not right:
            self.complain(
                f"{what}: {counted['least']} to {counted['most']} messages instead of {each} "
                f"per socket, {counted['lost']} sockets lost"
            )
        return right

    @property
    def is_slow(self) -> bool:
        return self.running.peer.is_slow

    def meter(self) -> Meter:
        return Meter(self.running.pids)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Nothing but what is measured, for less than a heartbeat interval."""
        if self.running.peer.beats:
            self.load.call("beat")
        self.load.call("be_quiet", True)
        try:
            yield
        finally:
            self.load.call("be_quiet", False)

    def idle_rate(self, seconds: float = IDLE) -> float:
        """CPU seconds per second of doing nothing."""
        meter = self.meter()
        time.sleep(seconds)
        cpu, passed = meter.read()
        return cpu / passed

    def broadcast(self, times: int = 1, patience: float = PATIENCE) -> dict[str, Any]:
        """Tell everyone and count; return the counts, with the CPU that it cost."""
        self.load.call("forget")
        meter = self.meter()
        self.load.begin("collect", times * self.size, patience)
        called = self.running.caller.call("broadcast", times, timeout=patience + 10)
        counted: dict[str, Any] = self.load.finish(patience + 10)
        cpu, _ = meter.read()
        return {
            **counted,
            "server_cpu": cpu,
            "caller_cpu": called["cpu"],
            "began_at": called["began_at"],
            "passed": counted["last_at"] - called["began_at"],
        }


# --- With the crowd connected: `connect` itself takes the figures of the handshakes


def connect(turn: Turn, wanted: set[str]) -> None:
    """Bring the crowd in, the first tenth of it to warm up."""
    warm = max(1, turn.size // 10)
    requests = turn.running.requests(1, turn.size)
    _arrive(turn, requests[:warm])
    if "memory" in wanted:
        time.sleep(REST)
    before = memory(turn.running.server_pids)
    meter = turn.meter()
    arrived = _arrive(turn, requests[warm:])
    cpu, _ = meter.read()
    rest = turn.size - warm
    if "handshakes" in wanted:
        turn.record("handshake CPU", cpu / rest * 1000)
        turn.record("handshakes per second", rest / arrived["seconds"])
    if "memory" in wanted:
        time.sleep(REST)
        after = memory(turn.running.server_pids)
        for kind, figure in (("Rss", "RSS per connection"), ("Pss", "PSS per connection")):
            turn.record(figure, (after[kind] - before[kind]) / rest / 1024)


def _arrive(turn: Turn, requests: Sequence[tuple[int, bytes]]) -> dict[str, Any]:
    return _arrived(turn, requests, turn.load.call("connect", requests, timeout=180))


def _arrived(
    turn: Turn, requests: Sequence[tuple[int, bytes]], arrived: dict[str, Any]
) -> dict[str, Any]:
    if arrived["connected"] != len(requests):
        turn.complain(f"{arrived['connected']} of {len(requests)} connected")
    return arrived


def idle(turn: Turn) -> None:
    with turn.quiet():
        turn.record("idle CPU", turn.idle_rate(LONG_IDLE) * 100)


def heartbeat(turn: Turn) -> None:
    rounds = 1 if turn.is_slow else 4
    with turn.quiet():
        rate = turn.idle_rate()
        meter = turn.meter()
        beaten = turn.load.call("beat", rounds)
        cpu, passed = meter.read()
    if beaten["answered"] != beaten["sent"]:
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
    if turn.check(counted, times, "broadcasts without a pause"):
        deliveries = times * turn.size
        turn.record("sustained deliveries", deliveries / counted["passed"])
        turn.record("sustained CPU", counted["server_cpu"] / deliveries * 100_000)


def held(turn: Turn) -> None:
    """How long a broadcast holds the loop, and others' heartbeats meanwhile."""
    answers: list[float] = []
    with Remote(LoadGenerator) as others, ThreadPoolExecutor(1) as thread, turn.quiet():
        others.call("connect", turn.running.requests(turn.size + 1, PROBES))
        broadcasts = 1 if turn.is_slow else 3
        others.begin("probe", PATIENCE if turn.is_slow else 3.0, PROBE_EVERY)
        longest = None
        if turn.running.peer.is_ours:
            longest = thread.submit(turn.running.get_json, f"{HELD_PATH}?seconds=2.5")
        time.sleep(0.3)
        spans = []
        for _ in range(broadcasts):
            counted = turn.broadcast()
            turn.check(counted, 1, "broadcast with others' heartbeats")
            spans.append((counted["began_at"], counted["last_at"]))
        for asked_at, latency in others.finish(PATIENCE + 10):
            if any(begin <= asked_at <= end for begin, end in spans):
                answers.append(latency)
        if longest:
            turn.record("loop held", longest.result()["held"] * 1000)
    turn.record("heartbeat p99 meanwhile", percentile(answers, 0.99) * 1000)


def come_back(turn: Turn) -> None:
    """All connections are cut at once, all clients come back, and somebody reads the inbox."""
    requests = turn.running.requests(1, turn.size)
    turn.load.call("cut")
    meter = turn.meter()
    turn.load.begin("connect", requests, timeout=180)
    if turn.running.peer.is_ours:
        seconds, problems = read_pages(turn.running, turn.size, until=turn.load.is_finished)
        turn.record("all back: page p50", percentile(seconds, 0.5) * 1000)
        turn.record("all back: page p99", percentile(seconds, 0.99) * 1000)
        for problem in problems:
            turn.complain(f"a page could not be read while all came back: {problem}")
    arrived = _arrived(turn, requests, turn.load.finish(190))
    cpu, _ = meter.read()
    turn.record("all back", arrived["seconds"])
    turn.record("all back, CPU", cpu / turn.size * 1000)


def slow_reader(turn: Turn) -> None:
    """One socket among all that nobody reads from, and much to tell it."""
    rounds = range(1 if turn.is_slow else 5)
    account = turn.size + PROBES + 1
    with Remote(LoadGenerator) as sleeper:
        sleeper.call("connect", turn.running.requests(account, 1), receive_buffer=4096)
        sleeper.call("mute")
        with turn.quiet():
            before = median([turn.broadcast()["passed"] for _ in rounds])
        size = memory(turn.running.server_pids)["Rss"]
        turn.running.caller.call("flood", account, STUCK_TIMES, STUCK_SIZE)
        time.sleep(0.5)
        grown = memory(turn.running.server_pids)["Rss"] - size
        passed, delivered = [], []
        with turn.quiet():
            for _ in rounds:
                counted = turn.broadcast(patience=PATIENCE if turn.is_slow else STUCK_PATIENCE)
                delivered.append(counted["messages"] / turn.size)
                passed.append(counted["passed"])
                if counted["messages"] < turn.size:
                    break  # it would be the same again
    turn.record("delivered beside a slow reader", 100 * min(delivered))
    if min(delivered) == 1:
        turn.record("slow reader: latency", median(passed) / before)
    turn.record("slow reader: memory", grown / 2**20)
    if turn.running.peer.is_ours and min(delivered) != 1:
        turn.complain(f"a slow reader keeps {1 - min(delivered):.0%} of the others waiting")


# --- To one account at a time


def targeted(turn: Turn) -> None:
    for rate in (200, 1000):
        _push(turn, "push", rate, f"targeted {rate}/s")


def persisted(turn: Turn) -> None:
    turn.running.caller.call("warm_up", list(range(1, WARM + 1)))
    _push(turn, "notify", 200, "persisted 200/s")


def _push(turn: Turn, method: str, rate: int, name: str) -> None:
    accounts = list(range(1, turn.size + 1))
    made = how_many(rate, TARGETED_SECONDS)
    with turn.quiet():
        idle_rate = turn.idle_rate(IDLE / 2)
        turn.load.call("forget")
        meter = turn.meter()
        turn.load.begin("collect", made, PATIENCE, timed=True)
        per_second = turn.running.caller.call(method, accounts, rate, TARGETED_SECONDS)
        counted = turn.load.finish(PATIENCE + 10)
        cpu, passed = meter.read()
    if counted["messages"] != made:
        turn.complain(f"{name}: {counted['messages']} of {made} arrived")
    turn.record(f"{name}: rate", per_second)
    turn.record(f"{name}: p50", percentile(counted["latencies"], 0.5) * 1000)
    turn.record(f"{name}: p99", percentile(counted["latencies"], 0.99) * 1000)
    turn.record(f"{name}: CPU", (cpu - idle_rate * passed) / made * 10_000)


# --- With many accounts in the database


def many(turn: Turn) -> None:
    """One call that notifies 100,000 accounts, of which the crowd is online."""
    turn.load.call("forget")
    turn.load.begin("collect", turn.size, PATIENCE)
    called = turn.running.caller.call("notify_many", 1, MANY, timeout=PATIENCE * 2)
    counted = turn.load.finish(PATIENCE + 10)
    turn.check(counted, 1, f"notify_accounts of {MANY:,}")
    turn.record("many: rows/s to the commit", MANY / called["commit"])
    turn.record("many: rows/s until pushed", MANY / called["pushed"])
    turn.record("many: caller's memory", called["memory"] / 2**20)
    turn.record("many: last socket", counted["last_at"] - called["began_at"])


def million(turn: Turn) -> None:
    with turn.quiet():
        turn.broadcast()  # the caller's first one, which imports and connects
        counted = turn.broadcast()
    turn.check(counted, 1, "broadcast")
    turn.record("million: last socket", counted["passed"] * 1000)
    turn.record("million: CPU", counted["server_cpu"] / turn.size * 100_000)


def accounts(turn: Turn) -> None:
    """Whether a process costs more where more accounts are in the database."""
    with turn.quiet():
        turn.record("accounts: idle CPU", turn.idle_rate(LONG_IDLE / 2) * 100)
        for _ in range(5):
            counted = turn.broadcast()
            turn.check(counted, 1, "broadcast")
            turn.record("accounts: broadcast CPU", counted["server_cpu"] / turn.size * 100_000)


@dataclass(frozen=True)
class Scenario:
    """
    sizes: how many sockets.
    peers: which servers; None for all of them.
    repeat: at most so many times.
    accounts: how many of them are in the database; empty for the crowd's.
    """

    name: str
    run: Callable[[Turn], None] | None
    sizes: tuple[int, ...]
    peers: frozenset[str] | None = None
    repeat: int = 100
    accounts: tuple[int, ...] = ()


OURS: Final = frozenset({"daphne", "uvicorn"})
GROWING: Final = OURS | {"go"}
SINGLE: Final = GROWING | {"plain", "node"}  # processes
FAST: Final = GROWING | {"uvicorn2"}

# In the order in which a crowd goes through them.
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
    Scenario("held", held, (10_000,), FAST),
    Scenario("targeted", targeted, (2000,), SINGLE),
    Scenario("persisted", persisted, (2000,), OURS),
    Scenario("back", come_back, (5000,), SINGLE),
    Scenario("slow", slow_reader, (5000,), SINGLE, repeat=3),
    Scenario("many", many, (2000,), OURS, 5, (110_000,)),
    Scenario("million", million, (5000,), OURS, 5, (1_000_000,)),
    Scenario("accounts", accounts, (1000,), OURS, 3, (1300, 10_000, 100_000, 1_000_000)),
]
