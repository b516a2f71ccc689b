"""The rules of the protocol, each with the source line that implements it and a mutation of it."""

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

# Weights of the steps that make a rule's failure likely.
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
    """A mutation of a line, in a script or in a function of the app."""

    place: str
    line: str
    instead: str


class Rule:
    """
    A rule's name and the edits that break it: `place, line, instead`, and those in `also`.

    weights: of steps, where they differ from the usual ones, to make the failure likely.
    first: the seed to start with, for failures that few stories show.
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

    def break_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace each function by its mutated source."""
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
        "only catching up writes to a connection that is behind",
        "hub.arrivals.Arrivals._update",
        "if connection.behind:",
        "if False:",
        {**SLOW, "lose": 10, "connect": 30, "deliver": 30, "wait": 15},
    ),
    Rule(
        "a live update out of order leaves the connection behind",
        "hub.arrivals.Arrivals._update",
        "is_next = update.first == connection.seq + 1",
        "is_next = True",
        {"lose": 12},
    ),
    Rule(
        "a broadcast out of order leaves the connection behind",
        "hub.fan_out.FanOut._write",
        "if seq != connection.broadcast_seq + 1:",
        "if False:",
        {"lose": 12, "broadcast": 30},
    ),
    Rule(
        "a connection's group is joined before the first read",
        "hub.hub.Hub.join",
        "await self._subscriptions.join(connection.account)",
        "asyncio.create_task(self._subscriptions.join(connection.account))",
        {**CALM, "slow_layer": 12, "connect": 40, "cut": 15, "notify": 30, "wait": 20},
    ),
    Rule(
        "the check finds lost live updates",
        "hub.database_check.DatabaseCheck.step",
        "if seq > connection.seq:",
        "if False:",
        {"lose": 20},
    ),
    Rule(
        "the check numbers rows that a crash left unnumbered",
        "hub.database_check._number_and_read",
        "numbering.number_and_publish(keys, using)",
        "pass",
        {"commit_and_crash": 20, "notify": 1, "begin": 0, "maintain": 0, "retain": 0},
    ),
    Rule(
        "a slow client is retried",
        "hub.catch_up.CatchUp.step",
        "elif self._behind:",
        "elif False:",
        AWAY,
    ),
    Rule(
        "audiences are rechecked",
        "hub.session_check.SessionCheck._judge",
        "elif admission.recipient != connection.recipient:",
        "elif False:",
        AUDIENCES,
    ),
    Rule(
        "catching up sends the oldest change first",
        "inbox.changes._frames",
        "in own_rows:",
        "in own_rows[::-1]:",
        AWAY,
    ),
    Rule(
        "changes after the latest number are not sent",
        "inbox.changes._read_own_rows",
        "after, last = request.position.seq, request.last_seq",
        "after, last = request.position.seq, 10**9",
        {**AWAY, "write_in_between": 20},
        also=[Edit("inbox.changes._read_own_rows", " if seq <= request.last_seq", "")],
    ),
    Rule(
        "the latest number is read before the changes",
        "inbox.changes._frames",
        "seq=request.last_seq",
        "seq=read_latest_of_many([request.recipient])[0].position.seq",
        {**AWAY, "write_in_between": 20},
    ),
    Rule(
        "another scope causes a reload",
        "inbox.changes._can_follow",
        "and position.scope == latest.position.scope",
        "",
        AUDIENCES,
    ),
    Rule(
        "another epoch causes a reload",
        "inbox.changes._can_follow",
        "position.epoch == latest.position.epoch\n        and ",
        "",
        RESTORES,
    ),
    Rule(
        "a receipt is a numbered change",
        "inbox.changes._read_own_rows",
        "in BroadcastReceipt.objects.using(using).filter(receipts):",
        "in ():",
        BROADCASTS,
    ),
    Rule(
        "a removed broadcast takes a new number",
        "lifecycle.retraction.remove_broadcasts",
        "row.seq = sequence.seq",
        "pass",
        {**BROADCASTS, "retract": 20},
    ),
    Rule(
        "a replaced notification takes a new number",
        "lifecycle.numbering._write",
        'numbered.replaced, ["seq", "removed_at"]',
        'numbered.replaced, ["removed_at"]',
        AWAY,
    ),
    Rule(
        "an item changes only by newer changes",
        "store.js",
        "!(seq <= item.changedAt)",
        "true",
        {**PAGES, "mark_elsewhere": 20},
        first=222,
    ),
    Rule(
        "a page requested before a resync is requested again",
        "client.js",
        "generation !== this.#state.generation || ",
        "",
        {**AUDIENCES, "serve": 20},
    ),
    Rule(
        "a position below the floor causes a reload",
        "inbox.changes._can_follow",
        "latest.floor <= position.seq <=",
        "position.seq <=",
        {**AWAY, "retain": 20, "mark_elsewhere": 30, "load": 20, "answer": 20},
        also=[
            Edit(
                "inbox.changes.read_changes_of_many",
                "if request.position.seq < floor or ",
                "if ",
            )
        ],
    ),
    Rule(
        "a count of broadcasts matches the connection's position",
        "hub.arrivals.Arrivals._update",
        " and is_counted",
        "",
        STEADY,
        first=275,
    ),
    Rule(
        "a page's position is read before its rows",
        "inbox.pages.read_page",
        "latest = read_latest(recipient)",
        "pass",
        PAGES,
        # Twice, because the write in between happens after a read.
        also=[
            Edit(
                "inbox.pages.read_page",
                "        latest,\n    )",
                "        [read_latest(recipient), read_latest(recipient)][1],\n    )",
            )
        ],
    ),
    Rule(
        "a receipt that arrives before its broadcast is remembered",
        "store.js",
        'if (item?.generation !== state.generation || as === "gone") remember',
        'if (as === "gone") remember',
        BROADCASTS,
    ),
]
