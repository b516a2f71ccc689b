"""
Stories: what happens to the system, made up from a seed and shortened when it went wrong.

Not by hypothesis: a step costs milliseconds in a database, so what is likely has to be weighed,
and a failing story be shortened in a minute.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from .tabs import Tab
from .world import CHECK, World

MARKS = ("read", "unread", "archived", "inbox")
VIEWS = ("inbox", "unread")

# A step's name, and the seed for what it does exactly, so that it stays the same step
# when others are left out.
Step = tuple[str, int]
Draw = random.Random
Method = Callable[["Steps", Draw], Any]

WEIGHTS: dict[str, int] = {}


def step(weight: int) -> Callable[[Method], Method]:
    """Make a method a step of stories, `weight` times as frequent as one of weight 1."""

    def register(method: Method) -> Method:
        WEIGHTS[method.__name__] = weight
        return method

    return register


class Steps:
    """Each step returns what it did, in words, unless there was nothing to do."""

    def __init__(self, world: World) -> None:
        self.world = world

    # --- Somebody writes

    @step(12)
    def notify(self, draw: Draw) -> Any:
        accounts, options = self._receivers(draw), self._options(draw)
        self.world.notify(accounts, **options)
        return accounts, options

    @step(4)
    def begin(self, draw: Draw) -> Any:
        accounts = self._receivers(draw)
        self.world.begin(accounts)
        return accounts

    @step(6)
    def commit(self, draw: Draw) -> Any:
        if self.world.open:
            self.world.commit(draw.randrange(len(self.world.open)))
            return True

    @step(1)
    def roll_back(self, draw: Draw) -> Any:
        if self.world.open:
            self.world.roll_back(draw.randrange(len(self.world.open)))
            return True

    @step(2)
    def commit_and_crash(self, draw: Draw) -> Any:
        account = draw.choice(self.world.accounts)
        self.world.commit_and_crash(account)
        return account

    @step(6)
    def broadcast(self, draw: Draw) -> Any:
        audience = draw.choice(["everyone", self.world.group])
        options = self._expiry(draw)
        self.world.broadcast(audience, **options)
        return audience, options

    @step(6)
    def mark_elsewhere(self, draw: Draw) -> Any:
        """What a tab shows is marked on another device."""
        tab, mark = draw.choice(self.world.tabs), draw.choice(MARKS)
        ids = self._some_of(draw, tab)
        self.world.mark(tab.account, mark, ids)
        return tab, mark, ids

    @step(2)
    def mark_all_elsewhere(self, draw: Draw) -> Any:
        account, mark = draw.choice(self.world.accounts), draw.choice(["read", "archived"])
        self.world.mark_all(account, mark)
        return account, mark

    @step(3)
    def retract(self, draw: Draw) -> Any:
        ids = self._some_of(draw, draw.choice(self.world.tabs))
        if ids:
            self.world.retract(ids[0])
            return ids[0]

    @step(2)
    def undo(self, draw: Draw) -> Any:
        if self.world.spans:
            self.world.undo(draw.randrange(len(self.world.spans)))
            return True

    @step(3)
    def maintain(self, draw: Draw) -> Any:
        self.world.maintain()
        return True

    @step(2)
    def retain(self, draw: Draw) -> Any:
        self.world.retain()
        return True

    @step(2)
    def change_audience(self, draw: Draw) -> Any:
        account = draw.choice(self.world.accounts)
        self.world.change_audience(account)
        return account

    @step(1)
    def back_up(self, draw: Draw) -> Any:
        self.world.back_up()
        return True

    @step(1)
    def restore(self, draw: Draw) -> Any:
        if self.world.snapshot:
            crashed = draw.sample(range(2), draw.randrange(3))
            for index in crashed:
                self.world.crash(index)
            self.world.restore()
            return "crashed:", crashed

    @step(4)
    def write_in_between(self, draw: Draw) -> Any:
        """Somebody writes when a head has been read and its rows have not."""
        world, account = self.world, draw.choice(self.world.accounts)
        what = draw.choice(["notify", "broadcast", "mark all"])
        world.meanwhile = {
            "notify": lambda: world.notify([account]),
            "broadcast": lambda: world.broadcast("everyone"),
            "mark all": lambda: world.mark_all(account, "read"),
        }[what]
        return what, account

    # --- Between the processes

    @step(14)
    def deliver(self, draw: Draw) -> Any:
        """Usually in order."""
        process = draw.choice(self.world.processes)
        index = draw.choice([0, 0, 0, 1, 2])
        if index < len(process.in_flight):
            process.deliver(index)
            return process, index

    @step(8)
    def deliver_all(self, draw: Draw) -> Any:
        process = draw.choice(self.world.processes)
        while process.in_flight:
            process.deliver(0)
        return process

    @step(4)
    def lose(self, draw: Draw) -> Any:
        process = draw.choice(self.world.processes)
        if process.in_flight:
            process.in_flight.pop(draw.randrange(len(process.in_flight)))
            self.world.lasts(CHECK)
            return process

    @step(2)
    def double(self, draw: Draw) -> Any:
        process = draw.choice(self.world.processes)
        if process.in_flight:
            process.in_flight.append(draw.choice(process.in_flight))
            return process

    @step(1)
    def flush_layer(self, draw: Draw) -> Any:
        self.world.flush()
        return True

    @step(2)
    def slow_layer(self, draw: Draw) -> Any:
        self.world.layer.is_slow = not self.world.layer.is_slow
        return self.world.layer.is_slow

    # --- The servers

    @step(8)
    def wait(self, draw: Draw) -> Any:
        process, seconds = draw.choice(self.world.processes), draw.choice([0.06, 0.3, 1.0, 10.0])
        process.pass_time(seconds)
        return process, seconds

    @step(4)
    def slow_database(self, draw: Draw) -> Any:
        process = draw.choice(self.world.processes)
        process.is_slow = not process.is_slow
        process.settle()
        return process, process.is_slow

    @step(3)
    def read_database(self, draw: Draw) -> Any:
        process = draw.choice(self.world.processes)
        process.read()
        return process

    @step(4)
    def answer_of_database(self, draw: Draw) -> Any:
        process = draw.choice(self.world.processes)
        process.answer()
        return process

    @step(1)
    def lose_database(self, draw: Draw) -> Any:
        process = draw.choice(self.world.processes)
        process.lose_database()
        return process

    @step(1)
    def crash(self, draw: Draw) -> Any:
        index = draw.randrange(2)
        self.world.crash(index)
        return index

    # --- The tabs

    @step(14)
    def connect(self, draw: Draw) -> Any:
        tab, process = draw.choice(self.world.tabs), draw.choice(self.world.processes)
        if tab.socket is None:
            tab.connect(process)
            return tab, process

    @step(4)
    def cut(self, draw: Draw) -> Any:
        tab = draw.choice(self.world.tabs)
        tab.cut()
        return tab

    @step(18)
    def read(self, draw: Draw) -> Any:
        tab, count = draw.choice(self.world.tabs), draw.choice([1, 2, 100])
        tab.read(count)
        return tab, count

    @step(3)
    def beat(self, draw: Draw) -> Any:
        tab = draw.choice(self.world.tabs)
        tab.beat()
        return tab

    @step(2)
    def open_page(self, draw: Draw) -> Any:
        tab = draw.choice(self.world.tabs)
        tab.open_page()
        return tab

    @step(4)
    def load(self, draw: Draw) -> Any:
        tab, view = draw.choice(self.world.tabs), draw.choice(VIEWS)
        action = draw.choice(["load", "loadOlder"])
        tab.do(action, view)
        return tab, view, action

    @step(4)
    def serve(self, draw: Draw) -> Any:
        tab = draw.choice(self.world.tabs)
        tab.serve()
        return tab

    @step(8)
    def answer(self, draw: Draw) -> Any:
        tab = draw.choice(self.world.tabs)
        tab.answer()
        return tab

    @step(1)
    def lose_request(self, draw: Draw) -> Any:
        tab = draw.choice(self.world.tabs)
        tab.lose_request()
        return tab

    @step(4)
    def mark_here(self, draw: Draw) -> Any:
        tab, mark = draw.choice(self.world.tabs), draw.choice(MARKS)
        ids = self._some_of(draw, tab)
        tab.do("mark", [ids, mark])
        return tab, mark, ids

    @step(1)
    def mark_all_here(self, draw: Draw) -> Any:
        tab, mark = draw.choice(self.world.tabs), draw.choice(["read", "archived"])
        tab.do("markAll", mark)
        return tab, mark

    # --- Not steps

    def _receivers(self, draw: Draw) -> list[User]:
        return draw.choice([[account] for account in self.world.accounts] + [self.world.accounts])

    def _options(self, draw: Draw) -> dict[str, Any]:
        replacing = {"replace_key": "progress"} if draw.random() < 0.3 else {}
        return {**replacing, **self._expiry(draw)}

    def _expiry(self, draw: Draw) -> dict[str, Any]:
        return {"expires_at": timezone.now()} if draw.random() < 0.3 else {}

    def _some_of(self, draw: Draw, tab: Tab) -> list[str]:
        shown = [wire_id for wire_id, _ in tab.shown["inbox"]]
        return draw.sample(shown, min(len(shown), draw.choice([1, 1, 2, 3])))


def make_up(seed: int, length: int, weights: Mapping[str, int] | None = None) -> list[Step]:
    draw = random.Random(seed)
    weights = {**WEIGHTS, **(weights or {})}
    names = draw.choices(list(weights), list(weights.values()), k=length)
    return [(name, draw.randrange(2**32)) for name in names]


Play = Callable[[Sequence[Step]], str | None]  # returns what went wrong


def shorten(story: Sequence[Step], play: Play, attempts: int = 200) -> list[Step]:
    """Leave out what the failure does not need."""
    story = list(story)
    size = len(story) // 2
    while size and attempts:
        start = 0
        while start < len(story) and attempts:
            shorter = story[:start] + story[start + size :]
            attempts -= 1
            if play(shorter):
                story = shorter
            else:
                start += size
        size //= 2
    return story
