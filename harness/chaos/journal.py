"""The producers' record of their transactions, which survives a kill."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


class Journal:
    """One producer's file: a line for each finished transaction."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def committed(self, notifications: list[int], broadcasts: list[int]) -> None:
        self._write(
            "committed", [*(f"n{pk}" for pk in notifications), *(f"b{pk}" for pk in broadcasts)]
        )

    def rolled_back(self, tokens: list[str]) -> None:
        self._write("rolled back", tokens)

    def _write(self, outcome: str, names: list[str]) -> None:
        # A single write: once the kernel has it, a kill can't lose it.
        os.write(self._file, json.dumps([time.monotonic(), outcome, names]).encode() + b"\n")


@dataclass
class Summary:
    """All producers' journals together."""

    committed_at: dict[str, float] = field(default_factory=dict)  # monotonic seconds, by wire id
    rolled_back: set[str] = field(default_factory=set)  # tokens
    transactions: int = 0
    rollbacks: int = 0


def read(paths: Iterable[Path]) -> Summary:
    summary = Summary()
    for path in paths:
        for line in path.read_text().splitlines():
            at, outcome, names = json.loads(line)
            if outcome == "committed":
                summary.transactions += 1
                summary.committed_at.update(dict.fromkeys(names, at))
            else:
                summary.rollbacks += 1
                summary.rolled_back.update(names)
    return summary
