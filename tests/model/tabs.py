"""Open tabs: the real client in JavaScript, and the server's end of its socket and requests."""

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

# Playwright brings it along.
NODE = Path(playwright.__file__).parent / "driver/node"
STATIC = ROOT / "notifications/static/notifications"
UNREAD_BY_CLIENT = 6  # frames, after which a socket is full


class Failure(AssertionError):
    """A promise of the protocol was broken."""


class Browser:
    """A process with all tabs; `changes` are made to the text of the scripts before they run."""

    def __init__(self, changes: Mapping[str, tuple[str, str]] | None = None) -> None:
        self._directory = TemporaryDirectory(prefix="notify-site-model-")
        scripts = Path(self._directory.name)
        shutil.copytree(STATIC, scripts, dirs_exist_ok=True)
        (scripts / "package.json").write_text('{"type": "module"}')
        for name, (line, instead) in (changes or {}).items():
            text = (scripts / name).read_text()
            assert text.count(line) == 1, f"{name} has {text.count(line)} times: {line}"
            (scripts / name).write_text(text.replace(line, instead))
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
        told: dict[str, Any] = json.loads(answer)
        return told

    def close(self) -> None:
        self._process.communicate()
        self._directory.cleanup()


class Wire:
    """The way to one socket, up to where the client reads; here every frame is checked."""

    def __init__(self, errors: list[str]) -> None:
        self.frames: deque[str] = deque()
        self.errors = errors  # not raised here: the hub would log it and go on
        self.closed_with: int | None = None
        self._cursor: dict[str, int] = {}

    @property
    def is_full(self) -> bool:
        return len(self.frames) >= UNREAD_BY_CLIENT

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
        if (frame["type"] == "register") is bool(self._cursor):
            self.errors.append(f"register is not the first frame and the only one: {frame}")
        for name in ("seq", "broadcast_seq"):
            if name not in frame:
                continue
            is_change = frame["type"] not in {"register", "resync", "heartbeat"}
            if frame[name] < self._cursor.get(name, 0) + is_change and frame["type"] != "resync":
                self.errors.append(f"a frame behind the cursor {self._cursor}: {frame}")
            self._cursor[name] = frame[name]


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
        self.history = history  # of the account: the states that each item had, in order
        self.record = record  # brings the history up to date
        self.socket: LiveConnection | None = None
        self.wire: Wire | None = None
        self.process: Process | None = None
        self.query: str | None = None  # of the socket that the client has opened
        self.requests: deque[_Request] = deque()
        self.open_page()

    # --- What the person and the network do

    def open_page(self) -> None:
        """Load a page anew, with the cursor and counts that are in it."""
        head = pages.read_latest(self._reader())
        self._leave()
        self.requests.clear()
        self._begin(head.position.as_dict())
        self.shows_outdated = False
        urls = {name: f"/notifications/{name}/" for name in ("changes", "items", "mark")}
        config = {
            "account": str(self.account.pk),
            "cursor": head.position.as_dict(),
            **head.counts.as_dict(),
            "urls": {**urls, "socket": "/ws/notifications/"},
            "csrf_token": "",
        }
        self.do("open", config)

    def _begin(self, cursor: Mapping[str, Any]) -> None:
        """Forget what was seen before: a new page, or one of another epoch."""
        self.is_outdated = False  # shows and tells what was in a database that is no more
        self.marks: list[_Mark] = []
        self.told_from = cursor
        self.notified: Counter[str] = Counter()
        self.announced: Counter[str] = Counter()
        self.newest = {"n": 0, "b": 0}
        self.reached: defaultdict[str, int] = defaultdict(int)  # the place in an item's history

    def connect(self, process: Process) -> None:
        if self.socket is None:
            self.do("connect")
            assert self.query is not None
            self.wire, self.process = Wire(self.errors), process
            start = parse_start(QueryDict(self.query))
            process.loop.call_soon(self._join, process, self._reader(), self.wire, start)
            process.settle()

    def _join(self, process: Process, recipient: Recipient, wire: Wire, start: Any) -> None:
        # As the consumer does; a socket needs the running loop.
        self.socket = LiveConnection(recipient, self.session, wire, start)
        process.start(process.hub.join(self.socket))

    def cut(self, code: int = 1006) -> None:
        """Lose the connection."""
        if self.socket:
            self._leave()
            self.do("cut", code)

    def read(self, count: int) -> None:
        """Let the client take some of the frames that lie before it."""
        for _ in range(count):
            if not (self.wire and self.wire.frames):
                break
            text = self.wire.frames.popleft()
            frame = json.loads(text)
            self.marks = [mark for mark in self.marks if mark.seq > frame.get("seq", 0)]
            if frame["type"] == "resync":
                self.marks.clear()
                self._follow(frame)
                self.shows_outdated = True  # until the page comes that it asks for now
            self.do("receive", text)
        if self.wire and self.wire.closed_with and not self.wire.frames:
            self.cut(self.wire.closed_with)

    def beat(self) -> None:
        """Send a heartbeat, which the server answers as the consumer does."""
        if self.socket and self.process and self.socket.registered:
            self.process.hub.heard(self.socket)
            self.socket.answer_heartbeat()

    def serve(self) -> None:
        """Let the oldest request be answered by the site; the answer is on its way."""
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
                if page["epoch"] != self.told_from["epoch"]:
                    self._follow(page)
                elif page["scope"] != self.told_from["scope"]:
                    # Broadcasts of before are told by the page only.
                    broadcasts = {name: page[name] for name in ("broadcast_seq", "scope")}
                    self.told_from = {**self.told_from, **broadcasts}
            self.do("answer", {"status": request.status, "body": request.body})
            if not self.is_outdated and not self.requests:
                self.shows_outdated = False

    def restored(self) -> None:
        """The database is another one: until the client knows, it shows and tells what it had."""
        self.is_outdated = self.shows_outdated = True

    def _follow(self, start: Mapping[str, Any]) -> None:
        if start["epoch"] == self.told_from["epoch"]:
            self.told_from = start
        else:
            self._begin(start)

    def lose_request(self) -> None:
        """No answer comes, whether the request did or not."""
        if self.requests:
            request = self.requests.popleft()
            if request.mark in self.marks:
                self.marks.remove(request.mark)
            self.do("answer", {"status": 0})

    def do(self, action: str, argument: Any = None) -> None:
        """Let the client do something, and check what it tells and shows then."""
        answer = self.browser.do(self.number, action, argument)
        for told in answer["told"]:
            match told:
                case {"what": "opened", "query": query}:
                    self.query = query
                case {"what": "closed"}:
                    self._leave()
                case {"what": "asked", "method": method, "path": path}:
                    request = _Request(method, path, told.get("body"))
                    self.requests.append(request)
                    if request.mark:
                        self.marks.append(request.mark)
                case {"what": "notified", "id": wire_id, "number": number}:
                    if not self.is_outdated:
                        self._check_notified(wire_id, number)
                case {"what": "announced", "id": wire_id} if not self.is_outdated:
                    self.announced[wire_id] += 1
                    if self.announced[wire_id] > 1:
                        raise Failure(f"{self} announced {wire_id} twice")
        self.shown: dict[str, Any] = answer
        if self.shows_outdated:
            return
        for wire_id, state in answer["inbox"]:
            self._check_state(wire_id, state)

    # --- What must be true at any time

    def _check_notified(self, wire_id: str, number: int) -> None:
        self.notified[wire_id] += 1
        if self.notified[wire_id] > 1:
            raise Failure(f"{self} was told twice of {wire_id}")
        if number <= self.newest[wire_id[0]]:
            raise Failure(f"{self} was told of {wire_id} after a newer one")
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
        if self.socket and self.process and not self.process.loop.is_closed():
            self.process.loop.call_soon(self.process.hub.leave, self.socket)
            self.process.settle()
        self.socket = self.wire = self.process = None

    def _reader(self) -> Recipient:
        return Recipient.of(User.objects.get(pk=self.account.pk))

    def __repr__(self) -> str:
        return f"tab {self.number} of {self.account.username}"


class _Mark:
    """What the client asked for, and shows as if it were done until it is told what was."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self.ids = asked.get("ids")
        self.state = "read" if asked["as"] == "inbox" else asked["as"]
        self.seq = inf  # of the change that it made; 0: of none

    def answered(self, status: int, body: str) -> None:
        change_range = json.loads(body)["range"] if status == 200 else None
        self.seq = change_range["seq"] if change_range else 0

    def promises(self, wire_id: str, state: str) -> bool:
        return state == self.state and (self.ids is None or wire_id in self.ids)


class _Request:
    def __init__(self, method: str, path: str, body: str | None) -> None:
        self.method = method
        self.mark = _Mark(json.loads(body)) if body else None
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
