"""docs/protocol-vectors.json, with our JavaScript client and with the second client in Python."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import parse_qs

import pytest

from harness.second_client import Inbox
from harness.services import ROOT

from .tabs import Browser

POSITION = ("seq", "broadcast_seq", "epoch", "scope")
VECTORS = json.loads((ROOT / "docs/protocol-vectors.json").read_text())["vectors"]

Frame = dict[str, Any]


class Client(Protocol):
    """A client that has a position, has begun to load its list, and is not connected."""

    new: list[str | None]  # the ids of the messages that it showed
    is_connected: bool
    requests: int  # for the list, that have not been answered

    def connect(self) -> Frame: ...
    def receive(self, frame: Frame) -> None: ...
    def close(self, code: int) -> None: ...
    def answer_one(self, page: Frame) -> None: ...
    @property
    def items(self) -> list[tuple[str, str]]: ...
    @property
    def counts(self) -> list[int]: ...


class SecondClient:
    def __init__(self, start: Frame) -> None:
        self.new: list[str | None] = []
        self._inbox = Inbox(start)
        self._is_connected = False
        self._generation: int | None = None
        self._load()

    @property
    def is_connected(self) -> bool:
        return self._is_connected and not self._inbox.must_reconnect

    @property
    def requests(self) -> int:
        return int(self._generation is not None)

    def connect(self) -> Frame:
        self._is_connected = True
        return self._inbox.connects()

    def receive(self, frame: Frame) -> None:
        if self._inbox.receive(frame):
            self.new.append(frame.get("id"))
        self._load()

    def close(self, code: int) -> None:
        self._is_connected = self._inbox.is_up_to_date = False

    def answer_one(self, page: Frame) -> None:
        assert self._generation is not None
        generation, self._generation = self._generation, None
        self._inbox.add_page(page, generation, is_first=True)
        self._load()

    def _load(self) -> None:
        if self._generation is None and self._inbox.needs_list:
            self._generation = self._inbox.begin_list()

    @property
    def items(self) -> list[tuple[str, str]]:
        return list(self._inbox.items.items())

    @property
    def counts(self) -> list[int]:
        return list(self._inbox.counts)


class OurClient:
    _tabs = itertools.count(1000)

    def __init__(self, browser: Browser, start: Frame) -> None:
        self.new: list[str | None] = []
        self.is_connected = False
        self._browser = browser
        self._tab = next(self._tabs)
        self._requests: deque[str] = deque()
        self._query = ""
        urls = {name: f"/{name}/" for name in ("changes", "items", "mark")}
        config = {
            "account": "1",
            "cursor": {name: start[name] for name in POSITION},
            "unread": start["unread"],
            "unread_broadcasts": start["unread_broadcasts"],
            "urls": {**urls, "socket": "/ws/"},
            "csrf_token": "",
        }
        self._do("open", config)
        self._do("load", "inbox")

    @property
    def requests(self) -> int:
        return len(self._requests)

    def connect(self) -> Frame:
        self._do("connect")
        self.is_connected = True
        query = {name: values[0] for name, values in parse_qs(self._query).items()}
        numbers = {name: int(query[name]) for name in ("seq", "broadcast_seq", "epoch")}
        return {**numbers, "scope": query["scope"]}

    def receive(self, frame: Frame) -> None:
        self._do("receive", json.dumps(frame))

    def close(self, code: int) -> None:
        self.is_connected = False
        self._do("cut", code)

    def answer_one(self, page: Frame) -> None:
        self._requests.popleft()
        self._do("answer", {"status": 200, "body": json.dumps(page)})
        self._do("look")  # what follows may take another turn of its event loop

    @property
    def items(self) -> list[tuple[str, str]]:
        oldest_first = [(wire_id, state) for wire_id, state in reversed(self._shown["inbox"])]
        return sorted(oldest_first, key=lambda item: item[0].startswith("b"))

    @property
    def counts(self) -> list[int]:
        return list(self._shown["counts"])

    def _do(self, action: str, argument: Any = None) -> None:
        self._shown: Mapping[str, Any] = self._browser.do(self._tab, action, argument)
        for event in self._shown["events"]:
            match event:
                case {"type": "opened", "query": query}:
                    self._query = query
                case {"type": "closed"}:
                    self.is_connected = False
                case {"type": "requested", "path": path} if path.startswith("/items/"):
                    self._requests.append(path)
                case {"type": "notified"}:
                    self.new.append(event.get("id"))


@pytest.fixture(params=["ours", "second"])
def new_client(request: pytest.FixtureRequest) -> Any:
    if request.param == "second":
        return SecondClient
    browser = request.getfixturevalue("browser")
    return lambda start: OurClient(browser, start)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_a_client_shows_what_the_vectors_say(new_client: Any, vector: Frame) -> None:
    client: Client = new_client(vector["start"])
    for number, step in enumerate(vector["steps"]):
        ((action, argument),) = step.items()
        match action:
            case "connect":
                position = client.connect()
                assert argument in (None, position), number
            case "receive":
                client.receive(argument)
            case "close":
                client.close(argument)
            case "answer" | "answer_one":
                assert client.requests, f"{number}: the client did not ask for the list"
                client.answer_one(argument)
                while action == "answer" and client.requests:
                    client.answer_one(argument)
            case "expect":
                check(client, argument, number)
            case _:
                pytest.fail(f"{number}: unknown step {action}")


def check(client: Client, expected: Frame, number: int) -> None:
    found = (dict(client.items), client.counts)
    assert found == (expected["items"], expected["counts"]), number
    assert [wire_id for wire_id, _ in client.items] == list(expected["items"]), number
    if "new" in expected:
        assert client.new == expected["new"], number
    if "requests" in expected:
        assert client.requests == expected["requests"], number
    if expected.get("reconnects"):
        assert not client.is_connected, number
