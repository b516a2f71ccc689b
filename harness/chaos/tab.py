"""
What one client knows, by the rules of docs/protocol.md. No I/O.

It also keeps what a client needs not: how often and in which order each item
was told, before any rule hides that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Frame = dict[str, Any]

IN_INBOX = frozenset({"unread", "read"})


@dataclass(slots=True)
class Item:
    body: str
    state: str
    number: int
    changed_at: int  # the `seq` of the change that its state is of
    broadcast_seq: int | None  # None: it is a notification


@dataclass(frozen=True, slots=True)
class Shown:
    """When an item appeared, and since when its client was ready (monotonic seconds)."""

    body: str
    at: float
    ready_at: float
    port: int


class Tab:
    def __init__(self) -> None:
        self.seq = self.broadcast_seq = -1
        self.epoch = 0
        self.scope = ""
        self.unread = self.unread_broadcasts = 0
        self.items: dict[str, Item] = {}
        self.is_outdated = True  # the list has to be loaded before the cursor means anything
        self.shown: dict[str, Shown] = {}
        self.twice: list[str] = []
        self.out_of_order: list[str] = []
        self._told: set[str] = set()
        self._last_number = {"n": 0, "b": 0}
        self._early: dict[str, tuple[str, int]] = {}  # states of items still unknown
        self._ranges: list[Frame] = []

    @property
    def cursor(self) -> Frame:
        return {
            "seq": self.seq,
            "broadcast_seq": self.broadcast_seq,
            "epoch": self.epoch,
            "scope": self.scope,
        }

    @property
    def lacks_items(self) -> bool:
        """Whether something came back to the inbox that had left it before the list was loaded."""
        return any(state in IN_INBOX for state, _ in self._early.values())

    def states(self) -> dict[str, str]:
        return {wire_id: item.state for wire_id, item in self.items.items()}

    # --- The list, over HTTP

    def load(self, items: list[Frame], head: Frame, at: float, is_restart: bool) -> None:
        """
        Take all pages of the list for what is known.

        head: of the first page; later ones may be ahead of it. is_restart: the
        next socket starts from it; otherwise the open one goes on from its own cursor.
        """
        if is_restart:
            self._follow(head)
        self.items = {
            item["id"]: _item(item, item["seq"] if "seq" in item else head["seq"]) for item in items
        }
        for item in items:
            self._show(item, at, at, 0)
        self._early.clear()
        self._ranges.clear()
        self._count(head)
        self.is_outdated = False

    # --- Frames

    def apply(self, frame: Frame, at: float, ready_at: float, port: int) -> None:
        match frame["type"]:
            case "resync":
                self._follow(frame)
                self.is_outdated = True
            case "state":
                if self._is_news(frame):
                    self._change_states(frame)
                    self._move(frame)
            case "heartbeat":
                self._move(frame)
            case "register" | "ping" | "error" | "bye":
                pass
            case _:
                self._count_telling(frame)
                if self._is_news(frame):
                    self._show(frame, at, ready_at, port)
                    self._add(frame)
                    self._move(frame)

    def _is_news(self, frame: Frame) -> bool:
        if "seq" in frame:
            return bool(frame["seq"] > self.seq)
        return bool(frame["broadcast_seq"] > self.broadcast_seq)

    def _move(self, frame: Frame) -> None:
        self.seq = max(self.seq, frame.get("seq", 0))
        self.broadcast_seq = max(self.broadcast_seq, frame.get("broadcast_seq", 0))
        self._count(frame)

    def _follow(self, cursor: Frame) -> None:
        self.seq, self.broadcast_seq = cursor["seq"], cursor["broadcast_seq"]
        self.epoch, self.scope = cursor["epoch"], cursor["scope"]

    def _count(self, frame: Frame) -> None:
        self.unread = frame.get("unread", self.unread)
        self.unread_broadcasts = frame.get("unread_broadcasts", self.unread_broadcasts)

    def _count_telling(self, frame: Frame) -> None:
        wire_id, kind = frame["id"], frame["id"][0]
        if wire_id in self._told:
            self.twice.append(wire_id)
        elif frame["number"] < self._last_number[kind]:
            self.out_of_order.append(wire_id)
        self._told.add(wire_id)
        self._last_number[kind] = max(self._last_number[kind], frame["number"])

    def _show(self, frame: Frame, at: float, ready_at: float, port: int) -> None:
        if frame["id"] not in self.shown:
            self.shown[frame["id"]] = Shown(frame["content"]["body"], at, ready_at, port)

    def _add(self, frame: Frame) -> None:
        wire_id = frame["id"]
        item = _item(frame, frame.get("changed") or frame.get("seq", 0))
        self.items.pop(frame.get("replaces") or "", None)
        held = self.items.get(wire_id)
        if held and held.changed_at >= item.changed_at:
            return
        state, seq = self._early.pop(wire_id, ("", 0))
        if seq > item.changed_at:
            item.state, item.changed_at = state, seq
        for span in self._ranges:
            _apply_range(item, span)
        self.items[wire_id] = item
        if item.broadcast_seq is not None and item.state == "unread":
            self.unread_broadcasts += 1

    def _change_states(self, frame: Frame) -> None:
        if "range" in frame:
            span = {**frame["range"], "as": frame["as"]}
            self._ranges.append(span)
            for known in self.items.values():
                _apply_range(known, span)
            return
        for wire_id in frame["ids"]:
            item = self.items.get(wire_id)
            if frame["as"] == "gone":
                self.items.pop(wire_id, None)
                self._early.pop(wire_id, None)
            elif item is None:
                self._early[wire_id] = (frame["as"], frame.get("seq", 0))
            elif "seq" not in frame:
                item.state = frame["as"]
            elif frame["seq"] > item.changed_at:
                item.state, item.changed_at = frame["as"], frame["seq"]


def _item(frame: Frame, changed_at: int) -> Item:
    return Item(
        frame["content"]["body"],
        frame["state"],
        frame["number"],
        changed_at,
        frame.get("broadcast_seq"),
    )


def _apply_range(item: Item, span: Frame) -> None:
    if item.broadcast_seq is None:
        is_meant = item.changed_at <= span["upto"]["seq"]
    else:
        is_meant = (
            item.broadcast_seq <= span["upto"]["broadcast_seq"] and item.changed_at < span["seq"]
        )
    if is_meant and item.state in (IN_INBOX if span["as"] == "archived" else {"unread"}):
        item.state, item.changed_at = span["as"], span["seq"]
