"""
Protocol v1: frames, group names, close codes and limits.

Only constants and pure functions, but for `account_message`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final
from urllib.parse import urlsplit

Frame = dict[str, Any]

VERSION: Final = 1

# The channel-layer group of all hubs; an account's group is `account_group(pk)`.
HUBS_GROUP: Final = "notifications.hubs"

MAX_TYPE_LENGTH: Final = 64  # characters
MAX_BODY_LENGTH: Final = 5000  # characters
MAX_URL_LENGTH: Final = 2000  # characters
MAX_META_DATA: Final = 16 * 1024  # bytes of JSON
MAX_META_DATA_LEVELS: Final = 32  # of lists and objects inside each other
MAX_ERRORS_IN_A_ROW: Final = 20  # then the connection is closed with 4400

LEVELS: Final = ("info", "success", "warning", "error")
# The protocol's own types, which an application can't use for its messages.
RESERVED_TYPES: Final = frozenset(
    {"register", "heartbeat", "ping", "state", "resync", "error", "bye"}
)

_TYPE = re.compile(r"[a-z][a-z0-9_.]*", re.ASCII)
_PLAIN_GROUP_SUFFIX = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)
# PostgreSQL can't store NUL. After an odd number of backslashes, "\u0000" is plain text.
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
# JSON that may contain half a surrogate pair or an infinite number. Databases refuse NaN.
_MAYBE_NOT_SENDABLE = re.compile(r"\\ud[89a-f]|\de\+?\d{3}|\d{200}", re.ASCII | re.IGNORECASE)
# Control characters, spaces, and surrogates, which can't be encoded.
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class CloseCode(IntEnum):
    """Why the server closes a connection; the comments give the client's reaction."""

    NORMAL = 1000  # no retry
    RESTART = 4012  # retry after a jittered delay
    PROTOCOL_ABUSE = 4400  # stop
    NOT_LOGGED_IN = 4401  # stop until the page is reloaded
    SESSION_CHANGED = 4402  # retry once
    DEACTIVATED = 4403  # stop
    HEARTBEAT_LOST = 4408  # retry
    EVICTED = 4409  # stop until visible
    TOO_FAST = 4429  # retry after 30 s or more
    OVERLOADED = 4503  # back off

    @property
    def reconnect(self) -> bool:
        """Whether the client should reconnect without waiting for the user."""
        return self in _RECONNECT


_RECONNECT = frozenset(
    {
        CloseCode.RESTART,
        CloseCode.SESSION_CHANGED,
        CloseCode.HEARTBEAT_LOST,
        CloseCode.TOO_FAST,
        CloseCode.OVERLOADED,
    }
)


class ClientError(Exception):
    """A client's frame is refused; `code` is that of the `error` frame."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


# --- Names


def account_group(account_id: object) -> str:
    """Return the channel-layer group of an account's hubs, a valid name for any primary key."""
    key = str(account_id)
    if _PLAIN_GROUP_SUFFIX.fullmatch(key):
        return f"account_{key}"
    return f"account.sha256.{hashlib.sha256(key.encode()).hexdigest()}"


def is_valid_type(value: object) -> bool:
    """Whether `value` can be an application's message type."""
    return (
        isinstance(value, str)
        and len(value) <= MAX_TYPE_LENGTH
        and _TYPE.fullmatch(value) is not None
        and value not in RESERVED_TYPES
    )


def is_safe_url(value: object) -> bool:
    """Whether `value` is empty, an http(s) URL or a path on the site."""
    if not isinstance(value, str) or len(value) > MAX_URL_LENGTH:
        return False
    # Browsers strip control characters and read a backslash as a slash, so
    # "/\evil.example" and "/\t/evil.example" leave the site.
    if _NOT_IN_URLS.search(value) or "\\" in value:
        return False
    if value == "" or (value.startswith("/") and not value.startswith("//")):
        return True
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


# --- Messages

# Imports go down to this module, and signing takes the database: the app sets it when it is ready.
_sign: Callable[[Frame], dict[str, Any]] | None = None


def account_message(frame: Frame) -> dict[str, Any]:
    """
    Return a signed message, to send a frame to the open tabs of one account.

        await layer.group_send(account_group(pk), account_message(frame))

    It counts once and for a minute, so make one for each account, when you send it. Works in
    threads and in event loops. The first call of a process may wait for the database, but not
    longer than a second.

    Raises TypeError or ValueError for a frame that can't be sent to browsers.
    """
    if _sign is None:
        raise RuntimeError("account_message() needs Django: call django.setup() first.")
    return _sign(frame)


def sign_with(sign: Callable[[Frame], dict[str, Any]]) -> None:
    """Set what `account_message` calls."""
    global _sign
    _sign = sign


def levels(value: Any) -> int:
    """Return how many lists and objects are inside each other: 0 for text, 2 for [[]]."""
    # Not recursive: Python's stack may be nearly full.
    found, inside = 0, [value]
    while containers := [each for each in inside if isinstance(each, dict | list | tuple)]:
        found += 1
        inside = [
            child
            for each in containers
            for child in (each.values() if isinstance(each, dict) else each)
        ]
    return found


def encode_meta_data(meta_data: Any) -> str:
    """Return meta data as JSON. Raises ValueError, with the reason, if no message can have it."""
    nested = f"with at most {MAX_META_DATA_LEVELS} levels of lists and objects"
    try:
        encoded = json.dumps(meta_data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(encoded.encode())
    except RecursionError:
        raise ValueError(f"must be a JSON value {nested}, not with hundreds") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"must be a JSON value: {error}") from error
    if _ESCAPED_NUL.search(encoded):
        raise ValueError("must not contain the character NUL")
    if size > MAX_META_DATA:
        raise ValueError(f"must have at most {MAX_META_DATA} bytes of JSON, not {size}")
    if (found := levels(meta_data)) > MAX_META_DATA_LEVELS:
        raise ValueError(f"must be a JSON value {nested}, not {found}")
    return encoded


def decode_meta_data(stored: str) -> Any:
    """
    Return meta data from the JSON in the database.

    Raises ValueError, with the reason, if no frame can have it: other code may have written it.
    """
    # Above that, our own has never been: databases add spaces, or escape what is not ASCII.
    if len(stored) > 4 * MAX_META_DATA:
        raise ValueError(f"it has {len(stored)} characters")
    try:
        meta_data = json.loads(stored)
    except RecursionError:
        raise ValueError("it has hundreds of levels") from None
    if (
        stored.count("[") + stored.count("{") > MAX_META_DATA_LEVELS
        and (found := levels(meta_data)) > MAX_META_DATA_LEVELS
    ):
        raise ValueError(f"it has {found} levels")
    if _MAYBE_NOT_SENDABLE.search(stored):
        encode_meta_data(meta_data)
    return meta_data


# --- Frames


def size(text: str) -> int:
    """Return how many bytes an encoded frame has."""
    return len(text) if text.isascii() else len(text.encode())


def encode(frame: Frame) -> str:
    """Return a frame as JSON."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


def frame(type: str, body: str = "", meta_data: Any = "", **siblings: Any) -> Frame:
    """Return a frame: `type`, `content`, and any other keys beside them."""
    return {"type": type, "content": {"body": body, "meta_data": meta_data}, **siblings}


def state(as_: str, ids: list[str], **siblings: Any) -> Frame:
    """Return the frame for a new state of items; `siblings` holds its change numbers and counts."""
    return frame("state", **{"as": str(as_)}, ids=ids, **siblings)


def state_range(as_: str, range: Frame, **siblings: Any) -> Frame:
    """Return the frame for a new state of everything up to `range["upto"]`."""
    return frame("state", **{"as": str(as_)}, range=range, **siblings)


def heartbeat(seq: int, broadcast_seq: int, counts: tuple[int, int] | None) -> str:
    """
    Return the encoded answer to a heartbeat. As the most frequent frame, it uses no encoder.

    counts: `unread` and `unread_broadcasts` at this position; None if they are not known.
    """
    counted = f',"unread":{counts[0]},"unread_broadcasts":{counts[1]}' if counts else ""
    return (
        '{"type":"heartbeat","content":{"body":"","meta_data":""},'
        f'"seq":{seq},"broadcast_seq":{broadcast_seq}{counted}}}'
    )


def error(code: str, message: str) -> Frame:
    return frame("error", message, code=code)


def bye(code: CloseCode, delay: float = 0) -> Frame:
    """Return the frame sent just before a close. `delay`: seconds to wait before reconnecting."""
    return frame("bye", code=int(code), reconnect=code.reconnect, delay=delay)


def parse_client_frame(text: str | None, max_size: int) -> str:
    """
    Return the type of a client's frame, which is always `heartbeat`.

    Keys other than `type` are ignored. Raises ClientError for any other frame, and
    for one of more than `max_size` bytes.
    """
    if text == '{"type":"heartbeat"}':  # as nearly all clients send it
        return "heartbeat"
    if text is None:
        raise ClientError("bad_frame", "Only text frames are accepted; this one is binary.")
    if len(text) > max_size or len(text.encode(errors="replace")) > max_size:
        raise ClientError("bad_frame", f"A frame must have at most {max_size} bytes.")
    try:
        content = json.loads(text)
    # A number with too many digits is a ValueError, deep nesting a RecursionError.
    except (ValueError, RecursionError):
        raise ClientError("bad_json", "The frame is not JSON.") from None
    if not isinstance(content, dict):
        raise ClientError("bad_frame", "The frame must be a JSON object.")
    if "type" not in content:
        raise ClientError("bad_field", "The frame has no “type”; it must be “heartbeat”.")
    if not isinstance(content["type"], str):
        raise ClientError("bad_field", "“type” must be a string: “heartbeat”.")
    if content["type"] != "heartbeat":
        raise ClientError("bad_type", "Unknown type; clients can only send “heartbeat”.")
    return "heartbeat"
