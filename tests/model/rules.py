"""The rules of the protocol, each by the line that keeps it, and what happens without that line."""

from __future__ import annotations
import __future__

import importlib
import inspect
import sys
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

# What makes the failure of a rule likely: such steps come more often.
CALM = dict.fromkeys(
    ["lose", "flush_layer", "commit_and_crash", "change_audience", "restore", "back_up", "crash"], 0
)
AWAY = {"connect": 30, "cut": 15, "notify": 30}
AUDIENCES = {"change_audience": 15, "broadcast": 30, "connect": 30, "cut": 15, "load": 12}
SLOW = {"slow_database": 12, "read_database": 12, "answer_of_database": 12, "notify": 30}
BROADCASTS = {"broadcast": 30, "mark_elsewhere": 20, "read": 30}
PAGES = {"write_in_between": 20, "load": 30, "answer": 30, "open_page": 10}
STEADY = {
    **CALM,
    **dict.fromkeys(["cut", "lose_database", "slow_database", "slow_layer", "deliver_all"], 0),
    **{"broadcast": 20, "mark_elsewhere": 20, "deliver": 40, "connect": 20},
}
RESTORES = {"back_up": 10, "restore": 10, "connect": 30, "cut": 15}


@dataclass(frozen=True)
class Edit:
    """What takes a rule out of a script, or of a function of a module of notifications."""

    place: str
    line: str
    instead: str


class Rule:
    """
    A rule's name and what breaks it: `place, line, instead` of an Edit, and the edits in `also`.

    weights: of the steps that make its failure likely, where they differ from the usual ones.
    first: the story to begin with, for what few stories show: that one did.
    """

    def __init__(
        self,
        name: str,
        place: str,
        line: str,
        instead: str,
        weights: Mapping[str, int],
        also: Sequence[Edit] = (),
        first: int = 0,
    ) -> None:
        self.name = name
        self.weights = weights
        self.first = first
        edits = [Edit(place, line, instead), *also]
        self.scripts = {
            edit.place: (edit.line, edit.instead) for edit in edits if edit.place.endswith(".js")
        }
        self._functions = defaultdict[str, list[Edit]](list)
        for edit in edits:
            if edit.place not in self.scripts:
                self._functions[edit.place].append(edit)

    def break_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the functions in place again, each from its own source without the rule."""
        for place, edits in self._functions.items():
            package, module_name, *path, name = place.split(".")
            module = importlib.import_module(f"notifications.{package}.{module_name}")
            owner = module
            for part in path:
                owner = getattr(owner, part)
            whole = getattr(owner, name)
            source = textwrap.dedent(inspect.getsource(whole))
            for edit in edits:
                assert source.count(edit.line) == 1, f"{place} no longer has: {edit.line}"
                source = source.replace(edit.line, edit.instead)
            flags = __future__.annotations.compiler_flag
            made: dict[str, object] = {}
            exec(compile(source, place, "exec", flags, dont_inherit=True), vars(module), made)
            importers = [m for m in sys.modules.values() if vars(m).get(name) is whole]
            for holder in {owner, *importers}:
                monkeypatch.setattr(holder, name, made[name])


RULES = [
    Rule(
        "a socket that is behind is written by the healing only",
        "hub.arrivals.Arrivals._update",
        "if connection.behind:",
        "if False:",
        {**SLOW, "lose": 10, "connect": 30, "deliver": 30, "wait": 15},
    ),
    Rule(
        "a push that is not the next leaves the socket behind",
        "hub.arrivals.Arrivals._update",
        "is_next = update.first == connection.seq + 1",
        "is_next = True",
        {"lose": 12},
    ),
    Rule(
        "a broadcast that is not the next leaves the socket behind",
        "hub.fan_out.FanOut._write",
        "if seq != connection.broadcast_seq + 1:",
        "if False:",
        {"lose": 12, "broadcast": 30},
    ),
    Rule(
        "a socket's group is joined before the first reading",
        "hub.hub.Hub.join",
        "await self._subscriptions.join(connection.account)",
        "asyncio.create_task(self._subscriptions.join(connection.account))",
        {**CALM, "slow_layer": 12, "connect": 40, "cut": 15, "notify": 30, "wait": 20},
    ),
    Rule(
        "the check finds what was lost",
        "hub.database_check.DatabaseCheck.step",
        "if seq > connection.seq:",
        "if False:",
        {"lose": 20},
    ),
    Rule(
        "the check numbers what a crash left",
        "hub.database_check._number_and_read",
        "numbering.number_and_publish(keys, using)",
        "pass",
        {"commit_and_crash": 20, "notify": 1, "begin": 0, "maintain": 0, "retain": 0},
    ),
    Rule(
        "a slow reader is looked at again",
        "hub.catch_up.CatchUp.step",
        "elif self._behind:",
        "elif False:",
        AWAY,
    ),
    Rule(
        "audiences are looked at again",
        "hub.session_check.SessionCheck._judge",
        "elif admission.recipient != connection.recipient:",
        "elif False:",
        AUDIENCES,
    ),
    Rule(
        "the healing tells the oldest first",
        "inbox.changes._steps",
        "in items:",
        "in items[::-1]:",
        AWAY,
    ),
    Rule(
        "what changed after the head is not told",
        "inbox.changes._changed_items",
        "after, upto = one.position.seq, one.upto",
        "after, upto = one.position.seq, 10**9",
        {**AWAY, "write_in_between": 20},
        also=[Edit("inbox.changes._changed_items", "if item[0] <= one.upto", "")],
    ),
    Rule(
        "the head of changes is read before the rows",
        "inbox.changes._steps",
        "seq=asked.upto",
        "seq=read_latest_of_many([asked.recipient])[0].position.seq",
        {**AWAY, "write_in_between": 20},
    ),
    Rule(
        "another scope is told to reload",
        "inbox.changes._can_follow",
        "and position.scope == latest.position.scope",
        "",
        AUDIENCES,
    ),
    Rule(
        "another epoch is told to reload",
        "inbox.changes._can_follow",
        "position.epoch == latest.position.epoch\n        and ",
        "",
        RESTORES,
    ),
    Rule(
        "a receipt is a numbered change",
        "inbox.changes._changed_items",
        "in BroadcastReceipt.objects.using(using).filter(receipts):",
        "in ():",
        BROADCASTS,
    ),
    Rule(
        "a broadcast that goes takes a new number",
        "lifecycle.retraction.remove_broadcasts",
        "row.seq = sequence.seq",
        "pass",
        {**BROADCASTS, "retract": 20},
    ),
    Rule(
        "a notification that is replaced takes a new number",
        "lifecycle.numbering._numbering",
        "old.seq = inbox.next_seq()",
        "pass",
        AWAY,
    ),
    Rule(
        "an item is changed only above the seq that is held for it",
        "store.js",
        "!(seq <= item.changedAt)",
        "true",
        {**PAGES, "mark_elsewhere": 20},
        first=222,
    ),
    Rule(
        "a page that was asked for before a resync is asked for again",
        "client.js",
        "generation !== this.#state.generation || ",
        "",
        {**AUDIENCES, "serve": 20},
    ),
    Rule(
        "a cursor below the floor is told to reload",
        "inbox.changes._can_follow",
        "latest.floor <= position.seq <=",
        "position.seq <=",
        {**AWAY, "retain": 20, "mark_elsewhere": 30, "load": 20, "answer": 20},
        also=[
            Edit(
                "inbox.changes.read_changes_of_many",
                "one.position.seq < floors.get(one.recipient.account_id, 0)\n        or ",
                "",
            )
        ],
    ),
    Rule(
        "a count of broadcasts is of the number that the socket has reached",
        "hub.arrivals.Arrivals._update",
        " and is_counted",
        "",
        STEADY,
        first=275,
    ),
    Rule(
        "the head of a page is read before its rows",
        "inbox.pages.read_page",
        "latest = read_latest(recipient)",
        "pass",
        PAGES,
        # Twice, as what is written in between comes after a reading.
        also=[
            Edit(
                "inbox.pages.read_page",
                "        latest,\n    )",
                "        [read_latest(recipient), read_latest(recipient)][1],\n    )",
            )
        ],
    ),
    Rule(
        "a receipt of a broadcast that is not seen yet is remembered",
        "store.js",
        'if (!item || as === "gone") remember',
        'if (as === "gone") remember',
        BROADCASTS,
    ),
]
