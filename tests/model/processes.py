"""
Simulated server processes: each is an event loop with a real hub, without real time or threads.

The model decides when time passes and when the hub's database calls return. Messages to the
channel layer are in flight until the model delivers, duplicates or loses them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import selectors
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from channels.layers import BaseChannelLayer
from django.db import OperationalError

from notifications.hub.hub import Hub, get_hub

SLOW_JOIN_SECONDS = 1.0


class _Selector(selectors.DefaultSelector):
    """Calls `on_idle` when the event loop would wait, instead of waiting."""

    on_idle: Callable[[float | None], None]

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and (timeout is None or timeout > 0):
            self.on_idle(timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until it is moved."""

    def __init__(self) -> None:
        self._now = 0.0
        self._next: float | None = None
        selector = _Selector()
        selector.on_idle = self._idle
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def _idle(self, timeout: float | None) -> None:
        self._next = None if timeout is None else self._now + timeout
        self.stop()

    def run_until_idle(self) -> None:
        self.run_forever()

    def move_clock(self, limit: float) -> bool:
        """Move the clock to the next timer, or to `limit`; return whether there was a timer."""
        is_due = self._next is not None and self._next <= limit
        self._now = self._next if is_due and self._next is not None else limit
        return is_due


class ModelLayer(BaseChannelLayer):
    """Knows the groups' members; messages wait in each process's `in_flight`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.numbers = itertools.count()
        self.channels: dict[str, asyncio.Queue[Any]] = {}
        self.groups: defaultdict[str, dict[str, VirtualLoop]] = defaultdict(dict)
        self.in_flight: defaultdict[VirtualLoop, list[tuple[str, str]]] = defaultdict(list)
        self.is_slow = False

    async def new_channel(self) -> str:
        channel = f"model.{next(self.numbers)}"
        self.channels[channel] = asyncio.Queue()
        return channel

    async def receive(self, channel: str) -> Any:
        return await self.channels[channel].get()

    async def group_add(self, group: str, channel: str) -> None:
        if self.is_slow:
            await asyncio.sleep(SLOW_JOIN_SECONDS)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.groups[group][channel] = loop

    async def group_discard(self, group: str, channel: str) -> None:
        self.groups[group].pop(channel, None)

    async def group_send(self, group: str, message: Any) -> None:
        for channel, loop in self.groups[group].items():
            self.in_flight[loop].append((channel, json.dumps(message)))

    def forget(self, loop: VirtualLoop) -> None:
        self.in_flight.pop(loop, None)
        for members in self.groups.values():
            for channel in [name for name, owner in members.items() if owner is loop]:
                del members[channel]
                self.channels.pop(channel, None)


@dataclass
class _Call:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: asyncio.Future[Any]
    result: Any = None
    failure: Exception | None = None
    is_run: bool = False

    def run(self) -> None:
        if not self.is_run:
            self.is_run = True
            try:
                self.result = self.function(*self.arguments)
            except Exception as failure:
                self.failure = failure

    def answer(self) -> None:
        if self.future.done():
            return
        if self.failure:
            self.future.set_exception(self.failure)
        else:
            self.future.set_result(self.result)


class ParkedDatabase:
    """Replaces the hub's database threads; calls wait until the model lets them return."""

    def __init__(self) -> None:
        self.calls: deque[_Call] = deque()

    @classmethod
    def of_hub(cls, name: str) -> ParkedDatabase:
        """Return the same one for all threads of the running loop's hub."""
        return _databases.setdefault(asyncio.get_running_loop(), cls())

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        call = _Call(function, arguments, asyncio.get_running_loop().create_future())
        self.calls.append(call)
        return await call.future


_databases: WeakKeyDictionary[asyncio.AbstractEventLoop, ParkedDatabase] = WeakKeyDictionary()


class Process:
    def __init__(self, number: int, layer: ModelLayer) -> None:
        self.number = number
        self.layer = layer
        self.is_slow = False  # database calls return only by `read` and `answer`
        self.loop = VirtualLoop()
        self.hub: Hub = self.loop.run_until_complete(_start_hub())
        self.database: Any = self.hub.database
        self.settle()

    def __repr__(self) -> str:
        return f"process {self.number}"

    @property
    def in_flight(self) -> list[tuple[str, str]]:
        return self.layer.in_flight[self.loop]

    def start(self, coroutine: Any) -> None:
        self.loop.create_task(coroutine)

    def settle(self) -> None:
        """Run everything that is due."""
        self.loop.run_until_idle()
        while self.database.calls and not self.is_slow:
            self.read()
            self.answer()

    def pass_time(self, seconds: float) -> None:
        limit = self.loop.time() + seconds
        self.settle()
        while self.loop.move_clock(limit):
            self.settle()
        self.settle()

    def read(self) -> None:
        """Execute the oldest database call; its result has not arrived yet."""
        if self.database.calls:
            self.database.calls[0].run()

    def answer(self) -> None:
        if self.database.calls:
            self.read()
            self.database.calls.popleft().answer()
            self.loop.run_until_idle()

    def lose_database(self) -> None:
        """Let the oldest call fail, as when the database restarts."""
        if self.database.calls:
            call = self.database.calls[0]
            call.is_run, call.failure = True, OperationalError("the connection was lost")
            self.answer()

    def deliver(self, index: int) -> None:
        channel, message = self.in_flight.pop(index)
        if queue := self.layer.channels.get(channel):
            queue.put_nowait(json.loads(message))
        self.settle()

    def kill(self) -> None:
        """End like a process killed by kill -9."""
        self.layer.forget(self.loop)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_idle()
        self.loop.close()


async def _start_hub() -> Hub:
    return get_hub()
