"""
Envelopes, which processes send each other over the channel layer.

`dump` returns the dict that the channel layer takes; `parse` checks a received dict, once for all
connections. The other process may run an older or a newer release: unknown keys are ignored, and
missing ones have defaults. Anybody with access to the channel layer may send anything, so `parse`
never raises: it reports and skips an unreadable envelope, or a single entry of it. No change is
lost, because every hub compares its connections with the database.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

from django.conf import settings
from django.utils.timezone import is_aware

from notifications.protocol import CloseCode

VERSION: Final = 1  # raise it only for envelopes that an older release would misread

MAX_ID_LENGTH: Final = 64  # characters
MAX_INTEGER: Final = 2**63 - 1
NEVER_REACHED: Final = -1  # a `broadcast_seq` that no connection has
MALFORMED: Final = "malformed"

_TYPE_NAME = re.compile(r"[a-z0-9_.]{1,64}", re.ASCII)

Fields = dict[str, Any]
# Called for each skipped envelope or entry, with its type and the reason, but not its content.
Report = Callable[[str, str], None]


class Malformed(Exception):
    """A value that no release sends."""


# --- Entries: the parts of an envelope, each for one account


class LiveUpdate(NamedTuple):
    """The changes `first` to `seq` of an account's inbox, and the frame for them."""

    account: str
    first: int
    seq: int
    text: str  # the frame, encoded
    unread: int | None  # the counts in the frame, None if it has none
    unread_broadcasts: int | None
    counted_at: int | None  # the `broadcast_seq` at which broadcasts were counted

    @property
    def size(self) -> int:
        return len(self.text)

    @classmethod
    def parse(cls, fields: Fields) -> LiveUpdate:
        seq = _integer(fields["seq"], minimum=1)
        first = _integer(fields.get("first", seq), minimum=1)
        if first > seq:
            raise Malformed
        if "unread" in fields and "unread_broadcasts" in fields and "counted_at" in fields:
            counted_at = _integer_or_none(fields["counted_at"])
        else:
            # The frame's counts are unknown, so the account's connections have to catch up.
            counted_at = NEVER_REACHED
        return cls(
            fields["account"],
            first,
            seq,
            _text(fields["text"]),
            _integer_or_none(fields.get("unread")),
            _integer_or_none(fields.get("unread_broadcasts")),
            counted_at,
        )


class AccountFrame(NamedTuple):
    """A frame without a change number."""

    account: str
    text: str  # the frame, encoded

    @property
    def size(self) -> int:
        return len(self.text)

    @classmethod
    def parse(cls, fields: Fields) -> AccountFrame:
        return cls(fields["account"], _text(fields["text"]))


class ChangedAccount(NamedTuple):
    """An account whose sessions may have ended, or whose audiences may have changed."""

    account: str

    @property
    def size(self) -> int:
        return 0

    @classmethod
    def parse(cls, fields: Fields) -> ChangedAccount:
        return cls(fields["account"])


EntryT = TypeVar("EntryT", LiveUpdate, AccountFrame, ChangedAccount)

# --- Contents: one class for each type of envelope


class Arrival(NamedTuple):
    """How an envelope arrived."""

    account: str | None  # the account whose group it was sent to, None for the group of all hubs
    local: Container[str | None]  # the accounts with connections here
    report: Report


class Content:
    """The content of one type of envelope."""

    __slots__ = ()
    TYPE: ClassVar[str]

    def fields(self) -> Fields:
        raise NotImplementedError

    @classmethod
    def parse(cls, fields: Fields, arrival: Arrival) -> Content | None:
        """Return the part for connections here, None if there is none; raise if malformed."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Batch(Content, Generic[EntryT]):
    ENTRY: ClassVar[Any]
    entries: Sequence[EntryT]

    def fields(self) -> Fields:
        return {"entries": [entry._asdict() for entry in self.entries]}

    @classmethod
    def parse(cls, fields: Fields, arrival: Arrival) -> Batch[EntryT] | None:
        found = []
        for entry in _sequence(fields["entries"]):
            try:
                # In an envelope for all hubs, most entries are for accounts elsewhere.
                if _string(entry["account"]) in arrival.local:
                    found.append(cls.ENTRY.parse(entry))
            except Exception:
                arrival.report(cls.TYPE, MALFORMED)
        return cls(found) if found else None


class LiveUpdates(Batch[LiveUpdate]):
    __slots__ = ()
    TYPE = "notifications.push"
    ENTRY = LiveUpdate


class AccountFrames(Batch[AccountFrame]):
    __slots__ = ()
    TYPE = "notifications.frames"
    ENTRY = AccountFrame


class ChangedAccounts(Batch[ChangedAccount]):
    """Accounts whose connections have to be rechecked."""

    __slots__ = ()
    TYPE = "notifications.look"
    ENTRY = ChangedAccount


class PlainFrame(Content):
    """A frame that any code may send to an account's group; it becomes AccountFrames."""

    __slots__ = ()
    TYPE = "notifications.frame"

    @classmethod
    def parse(cls, fields: Fields, arrival: Arrival) -> AccountFrames:
        frame = fields["frame"]
        if arrival.account is None or not isinstance(frame, dict):
            raise Malformed
        _string(frame["type"])
        # Not protocol.encode, which allows NaN: browsers can't parse it.
        text = json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return AccountFrames([AccountFrame(arrival.account, _text(text))])


@dataclass(frozen=True, slots=True)
class BroadcastUpdate(Content):
    """A new broadcast, or the removal of one."""

    TYPE = "notifications.broadcast"
    seq: int
    audience: str
    created_at: datetime
    removed: bool
    text: str  # the frame, encoded

    def fields(self) -> Fields:
        return {
            "seq": self.seq,
            "audience": self.audience,
            "created_at": self.created_at.isoformat(),
            "gone": self.removed,
            "text": self.text,
        }

    @classmethod
    def parse(cls, fields: Fields, arrival: Arrival) -> BroadcastUpdate:
        removed = fields.get("gone", False)
        if not isinstance(removed, bool):
            raise Malformed
        return cls(
            _integer(fields["seq"], minimum=1),
            _string(fields["audience"]),
            _time(fields["created_at"]),
            removed,
            _text(fields["text"]),
        )


@dataclass(frozen=True, slots=True)
class EndSessions(Content):
    """The names of sessions that have ended, and the code to close their connections with."""

    TYPE = "notifications.end"
    sessions: Sequence[str]
    code: CloseCode

    def fields(self) -> Fields:
        return {"sessions": list(self.sessions), "code": int(self.code)}

    @classmethod
    def parse(cls, fields: Fields, arrival: Arrival) -> EndSessions:
        sessions = _strings(fields["sessions"], arrival, cls.TYPE)
        return cls(sessions, _code(fields, CloseCode.NOT_LOGGED_IN))


@dataclass(frozen=True, slots=True)
class CloseConnections(Content):
    """The ids of connections, and the code to close them with."""

    TYPE = "notifications.close"
    connections: Sequence[str]
    code: CloseCode

    def fields(self) -> Fields:
        return {"connections": list(self.connections), "code": int(self.code)}

    @classmethod
    def parse(cls, fields: Fields, arrival: Arrival) -> CloseConnections:
        connections = _strings(fields["connections"], arrival, cls.TYPE)
        return cls(connections, _code(fields, CloseCode.RESTART))


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


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Envelope:
    content: Content
    # Lets a hub recognise duplicates; None if the sender gave no valid id.
    id: str | None = field(default_factory=_new_id)


def dump(envelope: Envelope) -> Fields:
    """Return an envelope as the channel layer takes it."""
    content = envelope.content
    return {"type": content.TYPE, "v": VERSION, "id": envelope.id, **content.fields()}


def parse(message: object, arrival: Arrival) -> Envelope | None:
    """
    Return an envelope from the channel layer, None if no part of it is for a connection here.

    Entries of accounts that are not local are skipped unchecked. Never raises.
    """
    if not isinstance(message, dict) or not isinstance(message_type := message.get("type"), str):
        arrival.report("without a type", MALFORMED)
        return None
    kind = _TYPES.get(message_type)
    if kind is None:
        is_name = _TYPE_NAME.fullmatch(message_type)
        arrival.report(message_type if is_name else "another type", "unknown")
        return None
    try:
        if _integer(message.get("v", VERSION), minimum=1) > VERSION:
            arrival.report(kind.TYPE, "newer version")
            return None
        content = kind.parse(message, arrival)
        return Envelope(content, _id(message.get("id"))) if content else None
    # Anything may arrive: KeyError for a missing key, TypeError or ValueError for a wrong value,
    # RecursionError for a deeply nested one.
    except Exception:
        arrival.report(kind.TYPE, MALFORMED)
        return None


# --- Values


def _integer(value: Any, minimum: int = 0) -> int:
    if type(value) is int and minimum <= value <= MAX_INTEGER:  # not a bool
        return value
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


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= MAX_ID_LENGTH else None


def _time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if is_aware(time) != settings.USE_TZ:
        raise Malformed  # it can't be compared with the accounts' times
    return time


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
