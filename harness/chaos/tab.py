"""
The state of one client, following the rules of docs/protocol.md. No I/O.

Unlike a real client, it also records duplicates and the order of arrival,
before any rule hides them.
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
    changed_seq: int  # the change number of its state
    broadcast_seq: int | None  # None for a notification


@dataclass(frozen=True, slots=True)
class Appearance:
    """When an item first appeared, and since when the client was ready, in monotonic seconds."""

    body: str
    at: float
    ready_at: float
    port: int


@dataclass(frozen=True)
class ClientState:
    """What one client has and was shown."""

    account: int
    states: dict[str, str]
    bodies: dict[str, str]  # those that the client tells
    shown: dict[str, Appearance]
    unread: int
    unread_broadcasts: int
    duplicated: list[str]
    out_of_order: list[str]


class Arrivals:
    """What the server sent to one client again, or after a later item."""

    def __init__(self) -> None:
        self.duplicated: list[str] = []
        self.out_of_order: list[str] = []
        self._received: set[str] = set()
        self._last_number = {"n": 0, "b": 0}

    def check(self, frame: Frame) -> None:
        """Take a frame with an item."""
        wire_id, kind = frame["id"], frame["id"][0]
        if wire_id in self._received:
            self.duplicated.append(wire_id)
        elif frame["number"] < self._last_number[kind]:
            self.out_of_order.append(wire_id)
        self._received.add(wire_id)
        self._last_number[kind] = max(self._last_number[kind], frame["number"])


class Tab:
    def __init__(self) -> None:
        self.seq = self.broadcast_seq = -1
        self.epoch = 0
        self.scope = ""
        self.unread = self.unread_broadcasts = 0
        self.items: dict[str, Item] = {}
        self.is_outdated = True  # the list has to be loaded before the position is valid
        self.shown: dict[str, Appearance] = {}
        self._arrivals = Arrivals()
        self._early: dict[str, tuple[str, int]] = {}  # states of items not yet received
        self._ranges: list[Frame] = []

    @property
    def position(self) -> Frame:
        return {
            "seq": self.seq,
            "broadcast_seq": self.broadcast_seq,
            "epoch": self.epoch,
            "scope": self.scope,
        }

    @property
    def duplicated(self) -> list[str]:
        return self._arrivals.duplicated

    @property
    def out_of_order(self) -> list[str]:
        return self._arrivals.out_of_order

    @property
    def lacks_items(self) -> bool:
        """Whether an item that was not in the list when it was loaded is back in the inbox."""
        return any(state in IN_INBOX for state, _ in self._early.values())

    def states(self) -> dict[str, str]:
        return {wire_id: item.state for wire_id, item in self.items.items()}

    # --- The list, over HTTP

    def load(self, items: list[Frame], latest: Frame, at: float, is_restart: bool) -> None:
        """
        Replace all items by those of the list.

        latest: the first page's position and counts; later pages may be ahead of it.
        is_restart: the next connection starts at that position. Otherwise the open
        connection continues from its own.
        """
        if is_restart:
            self._reset_position(latest)
        self.items = {
            item["id"]: _item(item, item["seq"] if "seq" in item else latest["seq"])
            for item in items
        }
        for item in items:
            self._show(item, at, at, 0)
        self._early.clear()
        self._ranges.clear()
        self._count(latest)
        self.is_outdated = False

    # --- Frames

    def apply(self, frame: Frame, at: float, ready_at: float, port: int) -> None:
        match frame["type"]:
            case "resync":
                self._reset_position(frame)
                self.is_outdated = True
            case "state":
                if self._is_news(frame):
                    self._change_states(frame)
                    self._advance(frame)
            case "heartbeat":
                self._advance(frame)
            case "register" | "ping" | "error" | "bye":
                pass
            case _:
                self._arrivals.check(frame)
                if self._is_news(frame):
                    self._show(frame, at, ready_at, port)
                    self._add(frame)
                    self._advance(frame)

    def _is_news(self, frame: Frame) -> bool:
        if "seq" in frame:
            return bool(frame["seq"] > self.seq)
        # A frame about deleted items has no number.
        return "broadcast_seq" not in frame or bool(frame["broadcast_seq"] > self.broadcast_seq)

    def _advance(self, frame: Frame) -> None:
        self.seq = max(self.seq, frame.get("seq", 0))
        self.broadcast_seq = max(self.broadcast_seq, frame.get("broadcast_seq", 0))
        self._count(frame)

    def _reset_position(self, position: Frame) -> None:
        self.seq, self.broadcast_seq = position["seq"], position["broadcast_seq"]
        self.epoch, self.scope = position["epoch"], position["scope"]

    def _count(self, frame: Frame) -> None:
        self.unread = frame.get("unread", self.unread)
        self.unread_broadcasts = frame.get("unread_broadcasts", self.unread_broadcasts)

    def _show(self, frame: Frame, at: float, ready_at: float, port: int) -> None:
        if frame["id"] not in self.shown:
            self.shown[frame["id"]] = Appearance(frame["content"]["body"], at, ready_at, port)

    def _add(self, frame: Frame) -> None:
        wire_id = frame["id"]
        item = _item(frame, frame.get("changed") or frame.get("seq", 0))
        self.items.pop(frame.get("replaces") or "", None)
        held = self.items.get(wire_id)
        if held and held.changed_seq >= item.changed_seq:
            return
        state, seq = self._early.pop(wire_id, ("", 0))
        if seq > item.changed_seq:
            item.state, item.changed_seq = state, seq
        for change_range in self._ranges:
            _apply_range(item, change_range)
        self.items[wire_id] = item
        if item.broadcast_seq is not None and item.state == "unread":
            self.unread_broadcasts += 1

    def _change_states(self, frame: Frame) -> None:
        if "range" in frame:
            change_range = {**frame["range"], "as": frame["as"]}
            self._ranges.append(change_range)
            for known in self.items.values():
                _apply_range(known, change_range)
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
            elif frame["seq"] > item.changed_seq:
                item.state, item.changed_seq = frame["as"], frame["seq"]


def _item(frame: Frame, changed_seq: int) -> Item:
    return Item(
        frame["content"]["body"],
        frame["state"],
        frame["number"],
        changed_seq,
        frame.get("broadcast_seq"),
    )


def _apply_range(item: Item, change_range: Frame) -> None:
    if item.broadcast_seq is None:
        applies = item.changed_seq <= change_range["upto"]["seq"]
    else:
        applies = (
            item.broadcast_seq <= change_range["upto"]["broadcast_seq"]
            and item.changed_seq < change_range["seq"]
        )
    if applies and item.state in (IN_INBOX if change_range["as"] == "archived" else {"unread"}):
        item.state, item.changed_seq = change_range["as"], change_range["seq"]
