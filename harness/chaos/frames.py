"""Compare the counts in all frames that clients received with the database's history."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.chaos.history import History
from harness.chaos.tab import Frame


@dataclass
class CountCheck:
    checked: int = 0  # counts
    unknown_audiences: int = 0  # counts that could not be checked
    wrong: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Position:
    """The position of one client's connection."""

    seq: int = 0
    broadcast_seq: int = 0
    scope: str = ""


class FrameJudge:
    """Follows the positions of all clients through their frames, in the order of arrival."""

    def __init__(
        self, history: History, accounts: Mapping[int, int], scopes: Mapping[str, frozenset[str]]
    ) -> None:
        """accounts: of each client. scopes: the audiences that each `scope` stands for."""
        self.result = CountCheck()
        self._history = history
        self._accounts = accounts
        self._scopes = scopes
        self._positions: dict[int, _Position] = {}

    def take(self, client: int, at: float, frame: Frame) -> None:
        position = self._positions.setdefault(client, _Position())
        if "scope" in frame:  # `register` and `resync`
            position.seq, position.broadcast_seq = frame["seq"], frame["broadcast_seq"]
            position.scope = frame["scope"]
        else:
            position.seq = max(position.seq, frame.get("seq", 0))
            position.broadcast_seq = max(position.broadcast_seq, frame.get("broadcast_seq", 0))
        account = self._accounts[client]
        if "unread" in frame:
            self._compare(
                client, at, frame, "unread", self._history.count(account, position.seq), position
            )
        if "unread_broadcasts" in frame:
            audiences = self._scopes.get(position.scope)
            if audiences is None:
                self.result.unknown_audiences += 1
                return
            expected = self._history.count_broadcasts(
                account, audiences, position.seq, position.broadcast_seq
            )
            self._compare(client, at, frame, "unread_broadcasts", expected, position)

    def _compare(
        self, client: int, at: float, frame: Frame, name: str, expected: int, position: _Position
    ) -> None:
        self.result.checked += 1
        if frame[name] != expected:
            self.result.wrong.append(
                f"client {client} of account {self._accounts[client]} received {frame['type']} "
                f"with {name} {frame[name]} instead of {expected}, at {position.seq}, "
                f"{position.broadcast_seq} ({at:.2f})"
            )


def judge_frames(
    path: Path,
    history: History,
    accounts: Mapping[int, int],
    scopes: Mapping[str, frozenset[str]],
) -> CountCheck:
    """Check the frames in a file that `Clients` wrote."""
    judge = FrameJudge(history, accounts, scopes)
    for client, at, frame in _read(path):
        judge.take(client, at, frame)
    return judge.result


def _read(path: Path) -> Iterable[tuple[int, float, Frame]]:
    with gzip.open(path, "rt") as lines:
        for line in lines:
            client, at, text = line.split(" ", 2)
            yield int(client), float(at), json.loads(text)
