"""What the producers know, written so that a kill loses nothing that was said."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


class Journal:
    """One producer's file: a line for each transaction that ended."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def committed(self, notifications: list[int], broadcasts: list[int]) -> None:
        self._write(
            "committed", [*(f"n{pk}" for pk in notifications), *(f"b{pk}" for pk in broadcasts)]
        )

    def rolled_back(self, tokens: list[str]) -> None:
        self._write("rolled back", tokens)

    def _write(self, what: str, names: list[str]) -> None:
        # One write each: the kernel has it, whatever becomes of this process.
        os.write(self._file, json.dumps([time.monotonic(), what, names]).encode() + b"\n")


@dataclass
class Account:
    """What all producers have written together."""

    committed_at: dict[str, float] = field(default_factory=dict)  # monotonic seconds, by wire id
    rolled_back: set[str] = field(default_factory=set)  # tokens
    transactions: int = 0
    rollbacks: int = 0


def read(paths: Iterable[Path]) -> Account:
    account = Account()
    for path in paths:
        for line in path.read_text().splitlines():
            at, what, names = json.loads(line)
            if what == "committed":
                account.transactions += 1
                account.committed_at.update(dict.fromkeys(names, at))
            else:
                account.rollbacks += 1
                account.rolled_back.update(names)
    return account
