"""
Envelopes, which processes send each other over the channel layer.

`dump` returns the dict that the channel layer takes: the type, the version, a text, and the text's
digest (signing.py). The first line of the text is JSON. The others are the frames, one a line, as
they go to browsers: JSON in JSON would take several times as long to write and to read.

`parse` checks a received dict, once for all connections. Anybody with access to the channel layer
may send anything, so it never raises: it reports and skips what this site did not sign, what is old
or was received before, and what can't be read. The process that signed may run an older or a newer
release: unknown keys are ignored, and missing ones have defaults. No change is lost, because every
hub compares its connections with the database.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

from django.conf import settings
from django.utils.timezone import is_naive

from notifications.conf import conf
from notifications.db import times
from notifications.protocol import MAX_META_DATA_LEVELS, CloseCode, Frame
from notifications.texts import resolved

from . import signing
from .replays import Replays
from .site import Site

VERSION: Final = 2  # raise it only for envelopes that an older release would misread

MAX_INTEGER: Final = 2**63 - 1
MAX_FRAME_LEVELS: Final = MAX_META_DATA_LEVELS + 2  # meta data is inside `content`

# Why an envelope or an entry is skipped.
MALFORMED: Final = "malformed"
UNKNOWN: Final = "unknown"
NEWER: Final = "newer version"
UNSIGNED: Final = "unsigned"
# What other code sends, so its authors get an answer.
UNSIGNED_FRAME: Final = "unsigned: send notifications.protocol.account_message"
FOREIGN: Final = "not signed by this site"
UNVERIFIABLE: Final = "the site is not known yet"

# Keys of the protocol: a frame with one of them promises that everything up to it has arrived.
NUMBERS: Final = frozenset({"seq", "broadcast_seq"})

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_TYPE_NAME = re.compile(r"[a-z0-9_.]{1,64}", re.ASCII)

Fields = dict[str, Any]
# Called for each skipped envelope or entry, with its type and the reason, but not its content.
Report = Callable[[str, str], None]


class Skipped(Exception):
    """An envelope that is not to be handled, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Malformed(Exception):
    """A value that no release sends."""


# --- Entries: the parts of an envelope, each for one account. A later release may append values.


class LiveUpdate(NamedTuple):
    """The changes `first` to `seq` of an account's inbox, and the frame for them."""

    account: str
    first: int
    seq: int
    unread: int | None  # the counts in the frame, None if it has none
    unread_broadcasts: int | None
    counted_at: int | None  # the `broadcast_seq` at which broadcasts were counted
    text: str  # the frame, encoded

    @property
    def size(self) -> int:
        return len(self.text)

    @classmethod
    def parse(cls, values: Sequence[Any], text: object) -> LiveUpdate:
        account, first, seq, unread, unread_broadcasts, counted_at, *_ = values
        if _integer(first, minimum=1) > _integer(seq):
            raise Malformed
        return cls(
            account,
            first,
            seq,
            _integer_or_none(unread),
            _integer_or_none(unread_broadcasts),
            _integer_or_none(counted_at),
            _text(text),
        )


class AccountFrame(NamedTuple):
    """A frame without a change number."""

    account: str
    text: str  # the frame, encoded

    @property
    def size(self) -> int:
        return len(self.text)

    @classmethod
    def parse(cls, values: Sequence[Any], text: object) -> AccountFrame:
        return cls(values[0], _text(text))


class ChangedAccount(NamedTuple):
    """An account whose sessions may have ended, or whose audiences may have changed."""

    account: str

    @property
    def size(self) -> int:
        return 0

    @classmethod
    def parse(cls, values: Sequence[Any], text: object) -> ChangedAccount:
        return cls(values[0])


EntryT = TypeVar("EntryT", LiveUpdate, AccountFrame, ChangedAccount)

# --- Contents: one class for each type of envelope


class Arrival(NamedTuple):
    """How an envelope arrived."""

    account: str | None  # the account whose group it was sent to, None for the group of all hubs
    local: Container[str | None]  # the accounts with connections here
    report: Report
    site: Site | None  # None: not known yet
    replays: Replays


class Content:
    """The content of one type of envelope."""

    __slots__ = ()
    TYPE: ClassVar[str]
    # Whether the numbers in it tell what a connection has already. If not, it must be new.
    IS_NUMBERED: ClassVar[bool] = False

    def head(self) -> Fields:
        """Return everything but the frames."""
        raise NotImplementedError

    def frames(self) -> Sequence[str]:
        """Return the encoded frames."""
        return ()

    @classmethod
    def parse(cls, head: Fields, frames: Sequence[str], arrival: Arrival) -> Content | None:
        """Return the part for connections here, None if there is none; raise if malformed."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Batch(Content, Generic[EntryT]):
    ENTRY: ClassVar[Any]
    VALUES: ClassVar[int]  # of an entry, without its text, which is the last
    entries: Sequence[EntryT]

    def head(self) -> Fields:
        return {"entries": [entry[: self.VALUES] for entry in self.entries]}

    def frames(self) -> Sequence[str]:
        entries: Any = self.entries
        return [entry.text for entry in entries]

    @classmethod
    def parse(cls, head: Fields, frames: Sequence[str], arrival: Arrival) -> Batch[EntryT] | None:
        found = []
        for values, text in zip_longest(_sequence(head["entries"]), frames):
            try:
                # In an envelope for all hubs, most entries are for accounts elsewhere.
                if _string(values[0]) in arrival.local:
                    found.append(cls.ENTRY.parse(values, text))
            except Exception:
                arrival.report(cls.TYPE, MALFORMED)
        return cls(found) if found else None


class LiveUpdates(Batch[LiveUpdate]):
    __slots__ = ()
    TYPE = "notifications.push"
    IS_NUMBERED = True
    ENTRY = LiveUpdate
    VALUES = 6


class AccountFrames(Batch[AccountFrame]):
    __slots__ = ()
    TYPE = "notifications.frames"
    ENTRY = AccountFrame
    VALUES = 1


class ChangedAccounts(Batch[ChangedAccount]):
    """Accounts whose connections have to be rechecked."""

    __slots__ = ()
    TYPE = "notifications.look"
    ENTRY = ChangedAccount
    VALUES = 1

    def frames(self) -> Sequence[str]:
        return ()


@dataclass(frozen=True, slots=True)
class PlainFrame(Content):
    """A frame that any code may send to an account's group, where it becomes AccountFrames."""

    TYPE = "notifications.frame"
    text: str  # the frame, encoded

    @classmethod
    def of(cls, frame: Frame) -> PlainFrame:
        """Check and encode a frame. Raises TypeError or ValueError."""
        if not isinstance(frame, dict):
            raise TypeError(f"A frame must be a dict, not {type(frame).__name__}.")
        frame = resolved(frame, MAX_FRAME_LEVELS)
        if not isinstance(frame.get("type"), str):
            raise ValueError("A frame must have a “type”, and it must be a string.")
        if numbers := NUMBERS & frame.keys():
            raise ValueError(f"A frame of other code can't have “{min(numbers)}”.")
        try:
            # Not protocol.encode, which allows NaN: browsers can't parse it.
            text = json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("A frame can't have half a surrogate pair.") from None
        except RecursionError:
            raise ValueError("A frame can't be nested so deeply.") from None
        return cls(text)

    def head(self) -> Fields:
        return {}

    def frames(self) -> Sequence[str]:
        return (self.text,)

    @classmethod
    def parse(cls, head: Fields, frames: Sequence[str], arrival: Arrival) -> AccountFrames:
        (text,) = frames
        if arrival.account is None:
            raise Malformed
        return AccountFrames([AccountFrame(arrival.account, _text(text))])


@dataclass(frozen=True, slots=True)
class BroadcastUpdate(Content):
    """A new broadcast, or the removal of one."""

    TYPE = "notifications.broadcast"
    IS_NUMBERED = True
    seq: int
    audience: str
    created_at: datetime
    removed: bool
    text: str  # the frame, encoded

    def head(self) -> Fields:
        return {
            "seq": self.seq,
            "audience": self.audience,
            "created_at": self.created_at.isoformat(),
            "gone": self.removed,
        }

    def frames(self) -> Sequence[str]:
        return (self.text,)

    @classmethod
    def parse(cls, head: Fields, frames: Sequence[str], arrival: Arrival) -> BroadcastUpdate:
        removed = head.get("gone", False)
        if not isinstance(removed, bool):
            raise Malformed
        (text,) = frames
        return cls(
            _integer(head["seq"], minimum=1),
            _string(head["audience"]),
            _time(head["created_at"]),
            removed,
            _text(text),
        )


@dataclass(frozen=True, slots=True)
class EndSessions(Content):
    """The names of sessions that have ended, and the code to close their connections with."""

    TYPE = "notifications.end"
    sessions: Sequence[str]
    code: CloseCode

    def head(self) -> Fields:
        return {"sessions": list(self.sessions), "code": int(self.code)}

    @classmethod
    def parse(cls, head: Fields, frames: Sequence[str], arrival: Arrival) -> EndSessions:
        sessions = _strings(head["sessions"], arrival, cls.TYPE)
        return cls(sessions, _code(head, CloseCode.NOT_LOGGED_IN))


@dataclass(frozen=True, slots=True)
class CloseConnections(Content):
    """The ids of connections, and the code to close them with."""

    TYPE = "notifications.close"
    connections: Sequence[str]
    code: CloseCode

    def head(self) -> Fields:
        return {"connections": list(self.connections), "code": int(self.code)}

    @classmethod
    def parse(cls, head: Fields, frames: Sequence[str], arrival: Arrival) -> CloseConnections:
        connections = _strings(head["connections"], arrival, cls.TYPE)
        return cls(connections, _code(head, CloseCode.RESTART))


_TYPES: Final[Mapping[Any, type[Content]]] = {
    each.TYPE: each
    for each in (
        LiveUpdates,
        AccountFrames,
        ChangedAccounts,
        PlainFrame,
        BroadcastUpdate,
        EndSessions,
        CloseConnections,
    )
}

# --- Envelopes


def dump(content: Content, site: Site) -> Fields:
    """Return an envelope as the channel layer takes it, signed, and sent now."""
    head = _encode({"sent_at": site.now(), **content.head()})
    text = "\n".join((head, *content.frames()))
    digest = signing.digest(site.name, content.TYPE, VERSION, text)
    return {"type": content.TYPE, "v": VERSION, "signed": text, "digest": digest}


def parse(message: object, arrival: Arrival) -> Content | None:
    """
    Return the content of an envelope from the channel layer, None if none of it is for us.

    Entries of accounts that are not local are skipped unchecked. Never raises.
    """
    if not isinstance(message, dict) or not isinstance(message_type := message.get("type"), str):
        arrival.report("without a type", MALFORMED)
        return None
    kind = _TYPES.get(message_type)
    if kind is None:
        is_name = _TYPE_NAME.fullmatch(message_type)
        arrival.report(message_type if is_name else "another type", UNKNOWN)
        return None
    try:
        if kind is PlainFrame and conf.ACCEPT_UNSIGNED and "signed" not in message:
            plain = PlainFrame.of(message["frame"])
            return plain.parse({}, plain.frames(), arrival)
        head, frames = _open(kind, message, arrival)
        return kind.parse(head, frames, arrival)
    except Skipped as skipped:
        arrival.report(kind.TYPE, skipped.reason)
    # Anything may arrive: KeyError for a missing key, TypeError or ValueError for a wrong value,
    # RecursionError for a deeply nested one.
    except Exception:
        arrival.report(kind.TYPE, MALFORMED)
    return None


def _open(kind: type[Content], message: Fields, arrival: Arrival) -> tuple[Fields, Sequence[str]]:
    """Return the head and the frames of an envelope, if this site signed it and it is new."""
    if "signed" not in message:
        raise Skipped(UNSIGNED_FRAME if kind is PlainFrame else UNSIGNED)
    version = _integer(message["v"], minimum=1)
    if version > VERSION:
        raise Skipped(NEWER)
    text, digest, site = _string(message["signed"]), _string(message["digest"]), arrival.site
    if site is None:
        raise Skipped(UNVERIFIABLE)
    if not signing.is_genuine(digest, site.name, kind.TYPE, version, text):
        raise Skipped(FOREIGN)
    line, *frames = text.split("\n")
    head = json.loads(line)
    sent_at = _finite(head["sent_at"])
    if reason := arrival.replays.refusal(site, digest, sent_at, kind.IS_NUMBERED):
        raise Skipped(reason)
    return head, frames


# --- Values


def _integer(value: Any, minimum: int = 0) -> int:
    if type(value) is int and minimum <= value <= MAX_INTEGER:  # not a bool
        return value
    raise Malformed


def _finite(value: Any) -> float:
    if type(value) in {int, float} and math.isfinite(value):
        return float(value)
    raise Malformed


def _integer_or_none(value: Any) -> int | None:
    return None if value is None else _integer(value)


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Malformed


def _text(value: Any) -> str:
    """Return an encoded frame that can be sent to a browser."""
    text = _string(value)
    if not text:
        raise Malformed
    if not text.isascii():
        text.encode()  # raises UnicodeEncodeError for half a surrogate pair
    return text


def _time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if (is_naive(time) and settings.USE_TZ) or not times.is_storable(time):
        raise Malformed
    return times.aware(time)  # 0.2.0 sent naive ones without USE_TZ


def _code(fields: Fields, default: CloseCode) -> CloseCode:
    """Return the close code, or the default if it is missing or unknown to this release."""
    code = _integer(fields.get("code", int(default)))
    with suppress(ValueError):
        return CloseCode(code)
    return default


def _sequence(value: Any) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    raise Malformed


def _strings(values: Any, arrival: Arrival, message_type: str) -> list[str]:
    found = []
    for value in _sequence(values):
        if isinstance(value, str):
            found.append(value)
        else:
            arrival.report(message_type, MALFORMED)
    return found
