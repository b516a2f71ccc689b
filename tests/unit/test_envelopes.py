"""Envelopes between processes: valid parts are read, anything else is reported."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.channel_layer.envelopes import (
    MAX_INTEGER,
    NEVER_REACHED,
    VERSION,
    AccountFrame,
    AccountFrames,
    Arrival,
    BroadcastUpdate,
    ChangedAccount,
    ChangedAccounts,
    CloseConnections,
    Content,
    EndSessions,
    Envelope,
    Fields,
    LiveUpdate,
    LiveUpdates,
    dump,
    parse,
)
from notifications.protocol import CloseCode

ACCOUNTS = {"1", "2"}  # with connections here
UPDATE = LiveUpdate("1", 3, 4, '{"type":"state"}', 5, 6, 7)
BROADCAST = BroadcastUpdate(9, "staff", datetime(2026, 1, 1, tzinfo=UTC), False, '{"type":"news"}')
CONTENTS: list[Content] = [
    LiveUpdates([UPDATE, UPDATE._replace(account="2", unread=None, counted_at=None)]),
    AccountFrames([AccountFrame("1", '{"body":"für Zoë 🎉"}')]),
    ChangedAccounts([ChangedAccount("2")]),
    BROADCAST,
    EndSessions(["a", "b"], CloseCode.SESSION_CHANGED),
    CloseConnections(["a"], CloseCode.EVICTED),
]
BROKEN = [
    None,
    True,
    -1,
    0.5,
    10**30,
    "",
    "x\ud800",
    b"bytes",
    [],
    ["x"],
    {},
    {"x": [None]},
    float("nan"),
]


def arrive(message: object, account: str | None = None) -> tuple[Content | None, list[str]]:
    """Return the content read from a message, and the reports."""
    reports: list[str] = []
    arrival = Arrival(account, ACCOUNTS, lambda kind, why: reports.append(f"{kind} {why}"))
    envelope = parse(message, arrival)
    return envelope.content if envelope else None, reports


def message_of(content: Content) -> Fields:
    return dump(Envelope(content))


def without(fields: Fields, *keys: str) -> Fields:
    return {key: value for key, value in fields.items() if key not in keys}


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content.TYPE)
def test_an_envelope_arrives_as_it_was_sent(content: Content) -> None:
    envelope = Envelope(content)
    message = dump(envelope)

    assert message["v"] == VERSION
    assert json.loads(json.dumps(message)) == message
    assert parse(message, Arrival(None, ACCOUNTS, pytest.fail)) == envelope


def test_entries_of_accounts_without_connections_are_skipped() -> None:
    message = message_of(
        AccountFrames([AccountFrame(account, "{}") for account in ("3", "2", "4")])
    )

    assert arrive(message) == (AccountFrames([AccountFrame("2", "{}")]), [])
    message["entries"] = message["entries"][::2]
    assert arrive(message) == (None, [])


def test_a_frame_of_other_code_is_for_the_account_of_the_group() -> None:
    frame = {"type": "progress", "content": {"body": "50 %"}}
    message = {"type": "notifications.frame", "frame": frame}

    content, reports = arrive(message, account="1")

    assert reports == []
    assert isinstance(content, AccountFrames)
    ((account, text),) = content.entries
    assert (account, json.loads(text)) == ("1", frame)
    assert arrive(message, account=None) == (None, ["notifications.frame malformed"])


# --- Other releases


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content.TYPE)
def test_an_envelope_without_a_version_is_of_an_older_release(content: Content) -> None:
    assert arrive(without(message_of(content), "v")) == (content, [])


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content.TYPE)
def test_unknown_keys_of_a_newer_release_are_ignored(content: Content) -> None:
    message = {**message_of(content), "site": "a", "sent_at": 12}
    if "entries" in message:
        message["entries"] = [{**entry, "digest": b"x"} for entry in message["entries"]]

    assert arrive(message) == (content, [])


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content.TYPE)
def test_an_envelope_of_a_newer_version_is_ignored(content: Content) -> None:
    message = {**message_of(content), "v": VERSION + 1}

    assert arrive(message) == (None, [f"{content.TYPE} newer version"])


@pytest.mark.parametrize("key", ["unread", "unread_broadcasts", "counted_at"])
def test_a_live_update_without_its_counts_makes_its_connections_catch_up(key: str) -> None:
    message = message_of(LiveUpdates([UPDATE]))
    message["entries"] = [without(message["entries"][0], key)]

    content, reports = arrive(message)

    assert reports == []
    assert isinstance(content, LiveUpdates)
    (update,) = content.entries
    assert (update.seq, update.text, update.counted_at) == (4, UPDATE.text, NEVER_REACHED)


def test_other_missing_keys_have_defaults() -> None:
    live_update = {"account": "1", "seq": 4, "text": "{}"}

    content, _ = arrive({"type": "notifications.push", "entries": [live_update]})
    assert isinstance(content, LiveUpdates)
    assert content.entries[0].first == 4
    assert arrive(without(message_of(BROADCAST), "gone")) == (BROADCAST, [])
    assert arrive({"type": "notifications.end", "sessions": ["a"]}) == (
        EndSessions(["a"], CloseCode.NOT_LOGGED_IN),
        [],
    )
    assert arrive({"type": "notifications.close", "connections": ["a"]}) == (
        CloseConnections(["a"], CloseCode.RESTART),
        [],
    )


def test_an_unknown_close_code_ends_the_session_all_the_same() -> None:
    message = {"type": "notifications.end", "sessions": ["a"], "code": 4999}

    assert arrive(message) == (EndSessions(["a"], CloseCode.NOT_LOGGED_IN), [])


# --- Malformed messages


@pytest.mark.parametrize(
    ("message_type", "report"),
    [
        ("shop.hello", "shop.hello unknown"),
        ("notifications.later", "notifications.later unknown"),
        ("Alice is ill", "another type unknown"),
        ("x" * 65, "another type unknown"),
        (None, "without a type malformed"),
        (["notifications.push"], "without a type malformed"),
    ],
)
def test_unknown_types_are_reported_without_any_content(message_type: Any, report: str) -> None:
    assert arrive({"type": message_type, "body": "Alice is ill"}) == (None, [report])


@pytest.mark.parametrize("message", BROKEN)
def test_a_malformed_message_is_reported(message: Any) -> None:
    assert arrive(message) == (None, ["without a type malformed"])


@pytest.mark.parametrize("key", LiveUpdate._fields)
@pytest.mark.parametrize("broken", BROKEN)
def test_a_malformed_entry_does_not_harm_the_others(key: str, broken: Any) -> None:
    good = message_of(LiveUpdates([UPDATE]))["entries"][0]
    message = message_of(LiveUpdates([UPDATE]))
    message["entries"] = [good, {**good, key: broken}, good]

    content, reports = arrive(message)

    assert isinstance(content, LiveUpdates)
    if key == "account" and isinstance(broken, str):
        assert (list(content.entries), reports) == (
            [UPDATE, UPDATE],
            [],
        )  # an account without connections here
    elif broken is None and key in {"unread", "unread_broadcasts", "counted_at"}:
        assert (len(content.entries), reports) == (3, [])
    else:
        assert list(content.entries) == [UPDATE, UPDATE]
        assert reports == ["notifications.push malformed"]


@pytest.mark.parametrize("entry", BROKEN)
def test_a_value_in_place_of_an_entry_does_not_harm_the_others(entry: Any) -> None:
    message = message_of(LiveUpdates([UPDATE]))
    message["entries"].insert(0, entry)

    content, reports = arrive(message)

    assert content == LiveUpdates([UPDATE])
    assert reports == ["notifications.push malformed"]


@pytest.mark.parametrize("key", ["sessions", "connections"])
def test_a_malformed_name_does_not_harm_the_others(key: str) -> None:
    kind = {"sessions": "notifications.end", "connections": "notifications.close"}[key]

    content, reports = arrive({"type": kind, key: ["a", None, b"x", "b", {}]})

    assert getattr(content, key) == ["a", "b"]
    assert reports == [f"{kind} malformed"] * 3


@pytest.mark.parametrize(
    "frame",
    [
        *BROKEN,
        {"type": None},
        {"type": "progress", "content": b"bytes"},
        {"type": "progress", "content": float("nan")},
        {"type": "progress", "content": "\ud800"},
        {"type": "progress", "content": {("a", "tuple"): 1}},
        {"type": "progress", "content": 10**5000},
    ],
)
def test_a_frame_that_browsers_cannot_read_is_skipped(frame: Any) -> None:
    message = {"type": "notifications.frame", "frame": frame}

    assert arrive(message, account="1") == (None, ["notifications.frame malformed"])


def test_a_cyclic_or_deeply_nested_frame_is_skipped() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    endless: dict[str, Any] = {"type": "progress"}
    endless["content"] = endless

    for frame in (endless, {"type": "progress", "content": nested}):
        message = {"type": "notifications.frame", "frame": frame}
        assert arrive(message, account="1") == (None, ["notifications.frame malformed"])


@pytest.mark.parametrize("created_at", ["2026-01-01T00:00:00", "yesterday", 5, None])
def test_a_time_that_cannot_be_compared_is_malformed(created_at: Any) -> None:
    message = {**message_of(BROADCAST), "created_at": created_at}

    assert arrive(message) == (None, ["notifications.broadcast malformed"])


def test_a_site_without_time_zones_compares_times_without_them(settings: Any) -> None:
    settings.USE_TZ = False
    naive = BroadcastUpdate(9, "staff", datetime(2026, 1, 1), False, "{}")

    assert arrive(message_of(naive)) == (naive, [])
    assert arrive(message_of(BROADCAST)) == (None, ["notifications.broadcast malformed"])


@pytest.mark.parametrize("broken", [5, b"x", "x" * 65, ["x"]])
def test_an_invalid_id_is_read_as_none(broken: Any) -> None:
    message = {**message_of(CONTENTS[1]), "id": broken}

    envelope = parse(message, Arrival(None, ACCOUNTS, pytest.fail))

    assert envelope == Envelope(CONTENTS[1], id=None)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.binary(max_size=5)
    | st.text(st.characters(codec=None), max_size=5)
    | st.sampled_from(
        ["1", "2", MAX_INTEGER, "notifications.push", "{}", "2026-01-01T00:00+00:00"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
KEYS = sorted({key for content in CONTENTS for key in message_of(content)} | {"frame"})
ENTRIES = st.lists(st.dictionaries(st.sampled_from(LiveUpdate._fields), JUNK) | JUNK, max_size=3)


@given(
    content=st.sampled_from([content.TYPE for content in CONTENTS] + ["notifications.frame"]),
    fields=st.dictionaries(st.sampled_from(KEYS), JUNK),
    entries=ENTRIES,
    account=st.sampled_from([None, "1"]),
)
def test_parsing_never_raises_an_error(
    content: str, fields: Fields, entries: Any, account: str | None
) -> None:
    message = {**fields, "entries": entries, "type": content}

    content_read, reports = arrive(message, account)

    assert all(set(report) <= set(string.ascii_letters + "._ ") for report in reports)
    # The content can be sent to a browser.
    for entry in getattr(content_read, "entries", [content_read]):
        assert getattr(entry, "text", "x").encode()
