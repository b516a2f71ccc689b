"""The inbox as a client knows it: frames and pages go in, items and counts come out. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

Frame = dict[str, Any]

OWN_TYPES: Final = frozenset({"register", "heartbeat", "ping", "state", "resync", "error", "bye"})
IN_INBOX: Final = frozenset({"unread", "read"})
# The states that a range changes.
CHANGED_BY_RANGE: Final = {"read": {"unread"}, "archived": {"unread", "read"}}
MAX_REMEMBERED: Final = 1000  # states of unknown items, and ranges


@dataclass(frozen=True, slots=True)
class Item:
    frame: Frame
    state: str
    changed: int  # the account's change number that the state is known to be at least as new as
    is_ahead: bool  # known from a page only: its frame is still to come

    @property
    def number(self) -> int:
        return int(self.frame["number"])

    @property
    def is_broadcast(self) -> bool:
        return "broadcast_seq" in self.frame


@dataclass(slots=True)
class Count:
    """A count, and the numbers at which it was exact."""

    value: int = 0
    seq: int = -1
    broadcast_seq: int = -1

    def take(self, value: int, seq: int, broadcast_seq: int) -> None:
        if seq >= self.seq and broadcast_seq >= self.broadcast_seq:
            self.value, self.seq, self.broadcast_seq = value, seq, broadcast_seq

    def forget(self) -> None:
        self.seq = self.broadcast_seq = -1


class Inbox:
    """
    `needs_list`: load the list from its first page, as soon as possible.
    `must_reconnect`: the open connection is of another epoch or scope than the list.
    """

    def __init__(self, start: Frame | None = None) -> None:
        """start: a position with its counts, as a page of the site has it."""
        self.position: Frame | None = None  # None: not known yet
        self.is_up_to_date = False
        self.must_reconnect = False
        self._items: dict[str, Item] = {}
        self._unread = Count()
        self._unread_broadcasts = Count()
        self._is_outdated = True
        # Rises when the position is replaced: pages requested before that may be too old.
        self.generation = 0
        self._stale: set[str] = set()  # to be dropped when the first page arrives
        self._missing: set[str] = set()  # back in the inbox, but not here
        self._early: dict[str, tuple[str, int]] = {}  # states of items that are not here
        self._ranges: list[Frame] = []
        if start:
            self.position = _position_in(start)
            self._count(start)

    # --- What comes out

    @property
    def items(self) -> dict[str, str]:
        """The states of what is in the inbox, by id: notifications by number, then broadcasts."""
        shown = [item for item in self._items.values() if item.state in IN_INBOX]
        shown.sort(key=lambda item: (item.is_broadcast, item.number))
        return {item.frame["id"]: item.state for item in shown}

    @property
    def counts(self) -> tuple[int, int]:
        """The numbers of unread notifications and unread broadcasts."""
        return self._unread.value, self._unread_broadcasts.value

    @property
    def needs_list(self) -> bool:
        return self._is_outdated or (self.is_up_to_date and bool(self._missing))

    # --- The connection

    def connects(self) -> Frame:
        """Begin a connection; return the position for its URL, empty if there is none."""
        self.is_up_to_date = self.must_reconnect = False
        return dict(self.position or {})

    # --- Frames

    def receive(self, frame: Frame) -> bool:
        """Take a frame; return whether it is a message that has not arrived before."""
        match frame["type"]:
            case "register":
                if self.position is None:
                    self.position = _position_in(frame)
                elif frame.get("resync"):
                    self._outdate(frame)
            case "resync":
                if not self._is_outdated or self.position != _position_in(frame):
                    self._outdate(frame)
            case "heartbeat":
                self._count(frame)
                self._advance(frame)
                self.is_up_to_date |= "unread" in frame
            case "state":
                if not self._is_old(frame):
                    self._change_states(frame)
                    self._count(frame)
                    self._advance(frame)
            case type if type in OWN_TYPES:
                pass
            case _ if "id" not in frame:
                return True  # not stored, and counted nowhere
            case _ if not self._is_old(frame):
                is_new = self._add(frame)
                self._count(frame)
                self._advance(frame)
                return is_new
        return False

    def _is_old(self, frame: Frame) -> bool:
        position = self.position or {}
        return any(
            name in frame and frame[name] <= position.get(name, -1)
            for name in ("seq", "broadcast_seq")
        )

    def _advance(self, frame: Frame) -> None:
        if self.position is not None:
            for name in ("seq", "broadcast_seq"):
                self.position[name] = max(self.position[name], frame.get(name, 0))

    def _outdate(self, frame: Frame) -> None:
        self.position = _position_in(frame)
        self._forget()
        self._is_outdated = True

    def _forget(self) -> None:
        """Forget all numbers; what is shown stays until a page replaces it."""
        self.generation += 1
        self._stale = set(self._items)
        self._missing.clear()
        self._early.clear()
        self._ranges.clear()
        self._unread.forget()
        self._unread_broadcasts.forget()

    def _count(self, frame: Frame) -> None:
        at = {**(self.position or {}), **frame}
        seq, broadcast_seq = int(at["seq"]), int(at["broadcast_seq"])
        if "unread" in frame:
            self._unread.take(frame["unread"], seq, 0)
        if "unread_broadcasts" in frame:
            self._unread_broadcasts.take(frame["unread_broadcasts"], seq, broadcast_seq)

    def _add(self, frame: Frame) -> bool:
        wire_id = frame["id"]
        is_broadcast = "broadcast_seq" in frame
        if replaced := frame.get("replaces"):
            self._remove(replaced, frame["seq"])
        held = None if wire_id in self._stale else self._items.get(wire_id)
        self._stale.discard(wire_id)
        self._missing.discard(wire_id)
        changed = 0 if is_broadcast else _change_of(frame)
        is_new = held is None or held.is_ahead
        if held and (is_broadcast or held.changed >= changed):
            item = replace(held, is_ahead=False)
        else:
            item = self._with_changes(Item(frame, frame["state"], changed, is_ahead=False))
        if item.state != "gone":
            self._items[wire_id] = item
        if is_broadcast and item.state == "unread":
            self._unread_broadcasts.value += (
                frame["broadcast_seq"] > self._unread_broadcasts.broadcast_seq
            )
        return is_new and item.state != "gone"

    def _with_changes(self, item: Item) -> Item:
        """Return the item with the changes that arrived before it."""
        state, seq = self._early.get(item.frame["id"], ("", -1))
        if state == "gone" or seq > item.changed:
            item = replace(item, state=state, changed=max(seq, item.changed))
        for change_range in self._ranges:
            item = _apply_range(item, change_range)
        return item

    def _change_states(self, frame: Frame) -> None:
        if "range" in frame:
            change_range = {**frame["range"], "as": frame["as"]}
            self._ranges = [*self._ranges, change_range][-MAX_REMEMBERED:]
            for wire_id, item in self._items.items():
                self._items[wire_id] = _apply_range(item, change_range)
            return
        for wire_id in frame["ids"]:
            self._change_state(wire_id, frame["as"], frame.get("seq"))

    def _change_state(self, wire_id: str, state: str, seq: int | None) -> None:
        if self._early.get(wire_id, ("", 0))[0] == "gone":
            return
        if state == "gone":
            self._remove(wire_id, seq or 0)
            return
        item = self._items.get(wire_id)
        if item and (seq is None or seq > item.changed):
            changed = item.changed if seq is None else seq
            self._items[wire_id] = replace(item, state=state, changed=changed)
        if item is None or wire_id in self._stale:
            self._remember(wire_id, state, seq or 0)
        if item is None and state in IN_INBOX:
            self._missing.add(wire_id)

    def _remove(self, wire_id: str, seq: int) -> None:
        self._items.pop(wire_id, None)
        self._missing.discard(wire_id)
        self._remember(wire_id, "gone", seq)

    def _remember(self, wire_id: str, state: str, seq: int) -> None:
        self._early.pop(wire_id, None)
        self._early[wire_id] = (state, seq)
        if len(self._early) > MAX_REMEMBERED:
            del self._early[next(iter(self._early))]

    # --- Pages of the list

    def begin_list(self) -> int:
        """Begin to load the list; return the generation of its pages, for `add_page`."""
        self._stale = set(self._items)
        self._missing.clear()
        return self.generation

    def add_page(self, page: Frame, generation: int, is_first: bool) -> bool:
        """Take a page; return False if the list has to be loaded from its first page again."""
        if generation != self.generation:
            return False
        if self.position is None:
            self.position = _position_in(page)
        elif _history_of(page) != _history_of(self.position):
            if not is_first or self._is_overtaken(page):
                return False
            self.position = _position_in(page)
            self._forget()
            self.must_reconnect = True
        if is_first:
            for wire_id in self._stale:
                self._items.pop(wire_id, None)
            self._stale.clear()
        for frame in page["items"]:
            self._add_from_page(frame, page)
        self._count(page)
        # Not before: the connection may end, and the loading with it, between two pages.
        self._is_outdated = page["next"] is not None
        return True

    def _is_overtaken(self, page: Frame) -> bool:
        """Whether a page of another scope is older than the position."""
        assert self.position is not None
        is_comparable = page["epoch"] == self.position["epoch"]
        return is_comparable and any(
            page[name] < self.position[name] for name in ("seq", "broadcast_seq")
        )

    def _add_from_page(self, frame: Frame, page: Frame) -> None:
        assert self.position is not None
        is_broadcast = "broadcast_seq" in frame
        self._missing.discard(frame["id"])
        # A broadcast has no number of the account's own change; the page is at least this new.
        changed = page["seq"] if is_broadcast else frame["seq"]
        held = self._items.get(frame["id"])
        if held and held.changed >= changed:
            return
        name = "broadcast_seq" if is_broadcast else "seq"
        is_ahead = held.is_ahead if held else frame[name] > self.position[name]
        item = self._with_changes(Item(frame, frame["state"], changed, is_ahead))
        if item.state != "gone":
            self._items[frame["id"]] = item


def _change_of(frame: Frame) -> int:
    """Return the number of the change that the frame's state is of."""
    return int(frame["changed"] if "changed" in frame else frame["seq"])


def _position_in(frame: Frame) -> Frame:
    return {name: frame[name] for name in ("seq", "broadcast_seq", "epoch", "scope")}


def _history_of(position: Frame) -> tuple[int, str]:
    return position["epoch"], position["scope"]


def _apply_range(item: Item, change_range: Frame) -> Item:
    upto = change_range["upto"]
    if item.is_broadcast:
        is_meant = item.frame["broadcast_seq"] <= upto["broadcast_seq"]
    else:
        is_meant = item.changed <= upto["seq"]
    is_older = item.changed < change_range["seq"]
    if is_meant and is_older and item.state in CHANGED_BY_RANGE[change_range["as"]]:
        return replace(item, state=change_range["as"], changed=change_range["seq"])
    return item
