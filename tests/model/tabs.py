"""Open tabs: the real JavaScript client, and the server's side of its connection and requests."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import playwright
from django.contrib.auth.models import User
from django.http import QueryDict
from django.test import RequestFactory

from harness.services import ROOT
from notifications import views
from notifications.audiences import Recipient
from notifications.hub.connection import LiveConnection, parse_start
from notifications.inbox import pages
from notifications.protocol import Frame
from notifications.servers.base import EncodedFrame
from notifications.sessions.authentication import Session

from .processes import Process

# Part of Playwright.
NODE = Path(playwright.__file__).parent / "driver/node"
STATIC = ROOT / "notifications/static/notifications"
MAX_UNREAD_FRAMES = 6  # then the connection's buffer is full


class Failure(AssertionError):
    """A promise of the protocol was broken."""


class Browser:
    """A process with all tabs; `changes` edit the text of the scripts before they run."""

    def __init__(self, changes: Mapping[str, tuple[str, str]] | None = None) -> None:
        self._directory = TemporaryDirectory(prefix="notify-site-model-")
        scripts = Path(self._directory.name)
        shutil.copytree(STATIC, scripts, dirs_exist_ok=True)
        (scripts / "package.json").write_text('{"type": "module"}')
        for name, (line, replacement) in (changes or {}).items():
            text = (scripts / name).read_text()
            assert text.count(line) == 1, f"{name} has {text.count(line)} times: {line}"
            (scripts / name).write_text(text.replace(line, replacement))
        self._process = subprocess.Popen(
            [NODE, Path(__file__).with_name("harness.mjs"), scripts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, tab: int, action: str, argument: Any = None) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        command = {"tab": tab, "action": action, "argument": argument}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the client failed at {command}"
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        self._process.communicate()
        self._directory.cleanup()


class Wire:
    """A connection's frames until the client reads them; every frame is checked here."""

    def __init__(self, errors: list[str]) -> None:
        self.frames: deque[str] = deque()
        self.errors = errors  # not raised here, because the hub would log them and continue
        self.closed_with: int | None = None
        self._position: dict[str, int] = {}

    @property
    def is_full(self) -> bool:
        return len(self.frames) >= MAX_UNREAD_FRAMES

    def write(self, message: EncodedFrame) -> bool:
        if self.is_full:
            return False
        if self.closed_with is None:
            self._check(json.loads(message.text))
            self.frames.append(message.text)
        return True

    def close(self, code: int) -> None:
        self.closed_with = int(code)

    def _check(self, frame: Frame) -> None:
        if frame["type"] == "bye":
            return
        if (frame["type"] == "register") is bool(self._position):
            self.errors.append(f"register is not the first and only one: {frame}")
        for name in ("seq", "broadcast_seq"):
            if name not in frame:
                continue
            is_change = frame["type"] not in {"register", "resync", "heartbeat"}
            if frame[name] < self._position.get(name, 0) + is_change and frame["type"] != "resync":
                self.errors.append(f"a frame behind the position {self._position}: {frame}")
            self._position[name] = frame[name]


class Tab:
    def __init__(
        self,
        browser: Browser,
        number: int,
        account: User,
        session: Session,
        history: Mapping[str, list[str]],
        record: Callable[[], None],
        errors: list[str],
    ) -> None:
        self.browser = browser
        self.errors = errors
        self.number = number
        self.account = account
        self.session = session
        self.history = history  # the account's items, each with its states in order
        self.record = record  # updates the history
        self.connection: LiveConnection | None = None
        self.wire: Wire | None = None
        self.process: Process | None = None
        self.query: str | None = None  # of the connection that the client opened
        self.requests: deque[_Request] = deque()
        self.unsent: deque[_Mark] = deque()
        self.open_page()

    # --- Actions of the user and the network

    def open_page(self) -> None:
        """Load a new page, which has a position and counts."""
        latest = pages.read_latest(self._recipient())
        self._leave()
        self.requests.clear()
        self.unsent.clear()
        self._begin(latest.position.as_dict())
        self.shows_outdated = False
        urls = {name: f"/notifications/{name}/" for name in ("changes", "items", "mark")}
        config = {
            "account": str(self.account.pk),
            "cursor": latest.position.as_dict(),
            **latest.counts.as_dict(),
            "urls": {**urls, "socket": "/ws/notifications/"},
            "csrf_token": "",
        }
        self.do("open", config)

    def _begin(self, position: Mapping[str, Any]) -> None:
        """Forget everything received: the page is new, or the epoch is."""
        self.is_outdated = False  # has items of a database that was replaced
        self.marks: list[_Mark] = []
        self.received_from = position
        self.notified: Counter[str] = Counter()
        self.announced: Counter[str] = Counter()
        self.newest = {"n": 0, "b": 0}
        self.reached: defaultdict[str, int] = defaultdict(int)  # the index in each item's history

    def connect(self, process: Process) -> None:
        if self.connection is None:
            self.do("connect")
            assert self.query is not None
            self.wire, self.process = Wire(self.errors), process
            start = parse_start(QueryDict(self.query))
            process.loop.call_soon(self._join, process, self._recipient(), self.wire, start)
            process.settle()

    def _join(self, process: Process, recipient: Recipient, wire: Wire, start: Any) -> None:
        # As the consumer does; a LiveConnection needs a running loop.
        self.connection = LiveConnection(recipient, self.session, wire, start)
        process.start(process.hub.join(self.connection))

    def cut(self, code: int = 1006) -> None:
        """Lose the connection."""
        if self.connection:
            self._leave()
            self.do("cut", code)

    def read(self, count: int) -> None:
        """Let the client receive some of the waiting frames."""
        for _ in range(count):
            if not (self.wire and self.wire.frames):
                break
            text = self.wire.frames.popleft()
            frame = json.loads(text)
            self.marks = [mark for mark in self.marks if mark.seq > frame.get("seq", 0)]
            if frame["type"] == "resync":
                self.marks.clear()
                self._follow(frame)
                self.shows_outdated = True  # until the page arrives that it now requests
            self.do("receive", text)
        if self.wire and self.wire.closed_with and not self.wire.frames:
            self.cut(self.wire.closed_with)

    def beat(self) -> None:
        """Send a heartbeat, and answer it as the consumer does."""
        if self.connection and self.process and self.connection.registered:
            self.process.hub.heard(self.connection)
            self.connection.answer_heartbeat()

    def serve(self) -> None:
        """Let the server handle the oldest request; the response has not arrived yet."""
        if self.requests:
            self.requests[0].run(self.account)
            self.record()

    def answer(self) -> None:
        if self.requests:
            self.serve()
            request = self.requests.popleft()
            if request.mark:
                request.mark.answered(request.status, request.body)
                self.marks = [mark for mark in self.marks if mark.seq > 0]
            elif request.status == 200 and request.method == "GET":
                page = json.loads(request.body)
                if page["epoch"] != self.received_from["epoch"]:
                    self._follow(page)
                elif page["scope"] != self.received_from["scope"]:
                    # Older broadcasts are only in the page.
                    broadcasts = {name: page[name] for name in ("broadcast_seq", "scope")}
                    self.received_from = {**self.received_from, **broadcasts}
            self.do("answer", {"status": request.status, "body": request.body})
            if not self.is_outdated and not self.requests:
                self.shows_outdated = False

    def restored(self) -> None:
        """The database was restored; until the client notices, it shows outdated items."""
        self.is_outdated = self.shows_outdated = True

    def _follow(self, start: Mapping[str, Any]) -> None:
        if start["epoch"] == self.received_from["epoch"]:
            self.received_from = start
        else:
            self._begin(start)

    def lose_request(self) -> None:
        """Lose the request, or its response."""
        if self.requests:
            request = self.requests.popleft()
            if request.mark in self.marks:
                self.marks.remove(request.mark)
            self.do("answer", {"status": 0})

    def do(self, action: str, argument: Any = None) -> None:
        """Perform an action in the client, and check its events and what it shows."""
        answer = self.browser.do(self.number, action, argument)
        for event in answer["events"]:
            match event:
                case {"type": "opened", "query": query}:
                    self.query = query
                case {"type": "closed"}:
                    self._leave()
                case {"type": "requested", "method": method, "path": path}:
                    mark = self.unsent.popleft() if method == "POST" else None
                    self.requests.append(_Request(method, path, event.get("body"), mark))
                case {"type": "marked", "as": as_}:
                    self.unsent.append(_Mark(event.get("ids"), as_))
                    self.marks.append(self.unsent[-1])
                case {"type": "notified", "id": wire_id, "number": number}:
                    if not self.is_outdated:
                        self._check_notified(wire_id, number)
                case {"type": "announced", "id": wire_id} if not self.is_outdated:
                    self.announced[wire_id] += 1
                    if self.announced[wire_id] > 1:
                        raise Failure(f"{self} announced {wire_id} twice")
        self.shown: dict[str, Any] = answer
        if self.shows_outdated:
            return
        for wire_id, state in answer["inbox"]:
            self._check_state(wire_id, state)

    # --- Invariants

    def _check_notified(self, wire_id: str, number: int) -> None:
        self.notified[wire_id] += 1
        if self.notified[wire_id] > 1:
            raise Failure(f"{self} received {wire_id} twice")
        if number <= self.newest[wire_id[0]]:
            raise Failure(f"{self} received {wire_id} after a newer one")
        self.newest[wire_id[0]] = number

    def _check_state(self, wire_id: str, state: str) -> None:
        if any(mark.promises(wire_id, state) for mark in self.marks):
            return
        states = self.history[wire_id]
        start = self.reached[wire_id]
        try:
            self.reached[wire_id] = states.index(state, start)
        except ValueError:
            raise Failure(
                f"{self} shows {wire_id} as {state}, after {states[: start + 1]} of {states}"
            ) from None

    def _leave(self) -> None:
        if self.connection and self.process and not self.process.loop.is_closed():
            self.process.loop.call_soon(self.process.hub.leave, self.connection)
            self.process.settle()
        self.connection = self.wire = self.process = None

    def _recipient(self) -> Recipient:
        return Recipient.of(User.objects.get(pk=self.account.pk))

    def __repr__(self) -> str:
        return f"tab {self.number} of {self.account.username}"


class _Mark:
    """A mark that the client makes, and already shows until the server confirms it."""

    def __init__(self, ids: list[str] | None, as_: str) -> None:
        self.ids = ids
        self.state = "read" if as_ == "inbox" else as_
        self.seq = inf  # of its change; 0 if it made none

    def answered(self, status: int, body: str) -> None:
        change_range = json.loads(body)["range"] if status == 200 else None
        self.seq = change_range["seq"] if change_range else 0

    def promises(self, wire_id: str, state: str) -> bool:
        return state == self.state and (self.ids is None or wire_id in self.ids)


class _Request:
    def __init__(self, method: str, path: str, body: str | None, mark: _Mark | None) -> None:
        self.method = method
        self.mark = mark
        self.status = 0
        self.body = ""
        name = path.split("/")[2]
        self._view = {"changes": views.changes, "items": views.items, "mark": views.mark}[name]
        factory = RequestFactory()
        if method == "GET":
            self._request = factory.get(path)
        else:
            self._request = factory.post(path, body, content_type="application/json")

    def run(self, account: User) -> None:
        if not self.status:
            self._request.user = User.objects.get(pk=account.pk)
            self._request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
            response = self._view(self._request)
            self.status, self.body = response.status_code, response.content.decode()
