"""The CPU time and memory of processes, from the kernel's own counters."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CPUCLOCK_SCHED = 2  # <linux/posix-timers.h>: a process's user and system time


def process_tree(pids: Iterable[int]) -> set[int]:
    """Return these processes and all their descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(_stat(path)[1]), []).append(int(path.parent.name))
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU seconds of these processes, their descendants, and ended children."""
    total = 0.0
    for pid in process_tree(pids):
        with suppress(OSError):
            # In nanoseconds, whereas /proc/<pid>/stat counts in ticks.
            total += time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)
            total += sum(map(int, _stat(Path(f"/proc/{pid}/stat"))[13:15])) / TICKS_PER_SECOND
    return total


def memory(pids: Iterable[int]) -> dict[str, int]:
    """Return resident and proportional memory of these processes and descendants, in bytes."""
    total = {"Rss": 0, "Pss": 0}
    for pid in process_tree(pids):
        with suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            for name in total:
                if found := re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE):
                    total[name] += int(found[1]) * 1024
    return total


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all values do not exceed; infinity if there are none."""
    if not values:
        return float("inf")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


class Meter:
    """Measures CPU time and wall time of processes, from its creation on."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._started_at = time.monotonic()
        self._cpu = cpu_seconds(pids)

    def read(self) -> tuple[float, float]:
        """Return the CPU seconds and the wall time in seconds."""
        return cpu_seconds(self._pids) - self._cpu, time.monotonic() - self._started_at


def machine() -> dict[str, str]:
    """Describe the machine, without anything that identifies it."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_kb = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory_kb[1]) / 2**20:.0f} GiB" if memory_kb else "?",
        "load": f"{os.getloadavg()[0]:.1f}",
        "kernel": ".".join(platform.release().split("-")[0].split(".")[:2]),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages involved."""
    found = {"python": platform.python_version()}
    for package in (
        "django",
        "channels",
        "channels-redis",
        "redis",
        "daphne",
        "twisted",
        "uvicorn",
        "uvloop",
        "websockets",
        "psycopg",
    ):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def printed_version(command: Sequence[str | Path]) -> str:
    """Return the first version number that a command prints, "" if there is none."""
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"\d+(\.\d+)+", output)
    return found[0] if found else ""


def _stat(path: Path) -> list[str]:
    """Return the fields of a stat file from the third on, because the second may contain spaces."""
    return path.read_text().rpartition(")")[2].split()
