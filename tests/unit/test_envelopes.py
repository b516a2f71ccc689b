"""Envelopes between processes: what this site signed is read, anything else is reported."""

from __future__ import annotations

import json
import math
import string
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from notifications.channel_layer import signing
from notifications.channel_layer.envelopes import (
    MAX_INTEGER,
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
    Fields,
    LiveUpdate,
    LiveUpdates,
    PlainFrame,
    dump,
    parse,
)
from notifications.channel_layer.replays import MAX_AGE_SECONDS, Replays
from notifications.channel_layer.site import Site
from notifications.protocol import CloseCode

ACCOUNTS = {"1", "2"}  # with connections here
SITE = Site("ours", offset=1_800_000_000 - time.monotonic())
UPDATE = LiveUpdate("1", 3, 4, 5, 6, 7, '{"type":"state"}')
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
    [],
    ["x"],
    {},
    {"x": [None]},
    float("nan"),
]
each_content = pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content.TYPE)


class Hub:
    """Receives as a hub does."""

    def __init__(self, site: Site | None = SITE, since: float = -math.inf) -> None:
        self.site = site
        self.replays = Replays(since)
        self.reports: list[str] = []

    def take(self, message: object, account: str | None = None) -> Content | None:
        arrival = Arrival(account, ACCOUNTS, self._report, self.site, self.replays)
        return parse(message, arrival)

    def _report(self, kind: str, reason: str) -> None:
        self.reports.append(f"{kind} {reason}")


def arrive(message: object, account: str | None = None) -> tuple[Content | None, list[str]]:
    """Return the content that a hub reads from a message, and its reports."""
    hub = Hub()
    return hub.take(message, account), hub.reports


def later(seconds: float) -> Site:
    """Return the site of a process whose estimate of the time is wrong."""
    return SITE._replace(offset=SITE.offset + seconds)


def sign(message: Fields, *lines: str) -> Fields:
    """Return the message with another text, signed."""
    text = "\n".join(lines)
    digest = signing.digest(SITE.name, message["type"], message["v"], text)
    return {**message, "signed": text, "digest": digest}


def changed(content: Content, change: Callable[[Fields], Any], *frames: str) -> Fields:
    """Return a signed message whose head was changed."""
    message = dump(content, SITE)
    line, *own_frames = message["signed"].split("\n")
    head = json.loads(line)
    change(head)
    return sign(message, json.dumps(head), *(frames or own_frames))


@each_content
def test_an_envelope_arrives_as_it_was_sent(content: Content) -> None:
    message = dump(content, SITE)

    assert json.loads(json.dumps(message)) == message
    assert arrive(message) == (content, [])


def test_entries_of_accounts_without_connections_are_skipped() -> None:
    def frames(*accounts: str) -> Fields:
        return dump(AccountFrames([AccountFrame(account, "{}") for account in accounts]), SITE)

    assert arrive(frames("3", "2", "4")) == (AccountFrames([AccountFrame("2", "{}")]), [])
    assert arrive(frames("3", "4")) == (None, [])


def test_a_frame_of_other_code_is_for_the_account_of_the_group() -> None:
    frame = {"type": "progress", "content": {"body": "50 %\n"}}
    message = dump(PlainFrame.of(frame), SITE)

    content, reports = arrive(message, account="1")

    assert reports == []
    assert isinstance(content, AccountFrames)
    ((account, text),) = content.entries
    assert (account, json.loads(text)) == ("1", frame)
    assert arrive(message, account=None) == (None, ["notifications.frame malformed"])


# --- Strangers


@each_content
@pytest.mark.parametrize("key", ["type", "v", "signed", "digest"])
def test_a_changed_envelope_is_refused(content: Content, key: str) -> None:
    message = dump(content, SITE)
    others = {
        "type": "notifications.end"
        if content.TYPE != "notifications.end"
        else "notifications.look",
        "v": 1,
        "signed": message["signed"].replace(" ", "") + " ",
        "digest": message["digest"].upper(),
    }

    read, (report,) = arrive({**message, key: others[key]})

    assert read is None
    assert report.endswith("not signed by this site")


@each_content
def test_an_envelope_of_another_site_is_refused(content: Content) -> None:
    theirs = dump(content, SITE._replace(name="theirs"))
    with override_settings(SECRET_KEY="of another site"):
        other_key = dump(content, SITE)

    for message in (theirs, other_key):
        assert arrive(message) == (None, [f"{content.TYPE} not signed by this site"])


@each_content
def test_a_process_with_the_former_secret_key_is_heard(content: Content, settings: Any) -> None:
    message = dump(content, SITE)
    settings.SECRET_KEY_FALLBACKS = ["the one before", settings.SECRET_KEY]
    settings.SECRET_KEY = "the new one"

    assert arrive(message) == (content, [])
    settings.SECRET_KEY_FALLBACKS = ["the one before"]
    assert arrive(message) == (None, [f"{content.TYPE} not signed by this site"])


@each_content
def test_an_unsigned_envelope_is_refused(content: Content, settings: Any) -> None:
    settings.NOTIFICATIONS_ACCEPT_UNSIGNED = True  # which is about plain frames only
    older = {"type": content.TYPE, "v": 1, "id": "a", **content.head()}

    assert arrive(older) == (None, [f"{content.TYPE} unsigned"])


def test_a_process_that_does_not_know_its_site_takes_nothing() -> None:
    hub = Hub(site=None)

    assert hub.take(dump(BROADCAST, SITE)) is None
    assert hub.reports == ["notifications.broadcast the site is not known yet"]


def test_a_plain_frame_is_accepted_only_where_the_site_says_so(settings: Any) -> None:
    message = {"type": "notifications.frame", "frame": {"type": "progress"}}

    assert arrive(message, account="1") == (
        None,
        ["notifications.frame unsigned: send notifications.protocol.account_message"],
    )
    settings.NOTIFICATIONS_ACCEPT_UNSIGNED = True
    assert arrive(message, account="1") == (
        AccountFrames([AccountFrame("1", '{"type":"progress"}')]),
        [],
    )
    assert arrive(message, account=None) == (None, ["notifications.frame malformed"])


# --- Old envelopes


@each_content
@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(-MAX_AGE_SECONDS - 1, "too old"), (MAX_AGE_SECONDS + 1, "from the future")],
)
def test_an_old_envelope_is_refused(content: Content, seconds: float, reason: str) -> None:
    assert arrive(dump(content, later(seconds))) == (None, [f"{content.TYPE} {reason}"])


@each_content
@pytest.mark.parametrize("seconds", [0, MAX_AGE_SECONDS - 1])
def test_processes_need_not_agree_about_the_second(content: Content, seconds: float) -> None:
    hub = Hub()

    assert hub.take(dump(content, later(seconds))) == content
    assert hub.take(dump(content, later(-seconds))) == content


@pytest.mark.parametrize(
    "content", [content for content in CONTENTS if not content.IS_NUMBERED], ids=lambda c: c.TYPE
)
def test_an_envelope_without_numbers_is_taken_once(content: Content) -> None:
    hub, message = Hub(), dump(content, SITE)

    assert [hub.take(message), hub.take(message)] == [content, None]
    assert hub.reports == [f"{content.TYPE} repeated"]
    # The same once more is no repetition.
    assert hub.take(dump(content, SITE)) == content


def test_an_envelope_that_was_not_for_this_hub_counts_as_received() -> None:
    hub, message = Hub(), dump(AccountFrames([AccountFrame("3", "{}")]), SITE)

    assert hub.take(message) is None
    assert hub.reports == []
    hub.take(message)
    assert hub.reports == ["notifications.frames repeated"]


def test_a_new_hub_takes_no_envelope_of_before_it_opened() -> None:
    earlier, broadcast = dump(CONTENTS[1], SITE), dump(BROADCAST, SITE)
    hub = Hub(since=time.monotonic())

    assert hub.take(earlier) is None
    assert hub.reports == ["notifications.frames too old"]
    assert hub.take(broadcast) == BROADCAST
    assert hub.take(dump(CONTENTS[1], SITE)) == CONTENTS[1]


@pytest.mark.parametrize("sent_at", [None, "1800000000", True, float("nan"), float("inf"), [1]])
def test_the_time_must_be_a_number(sent_at: Any) -> None:
    message = changed(BROADCAST, lambda head: head.update(sent_at=sent_at))

    assert arrive(message) == (None, ["notifications.broadcast malformed"])


# --- Other releases


@each_content
def test_what_a_newer_release_adds_is_ignored(content: Content) -> None:
    def add(head: Fields) -> None:
        head["trace"] = "a"
        for entry in head.get("entries", ()):
            entry.append("more")

    message = {**changed(content, add), "trace": "b"}

    assert arrive(message) == (content, [])


@each_content
def test_an_envelope_of_a_newer_version_is_ignored(content: Content) -> None:
    message = {**dump(content, SITE), "v": VERSION + 1}

    assert arrive(message) == (None, [f"{content.TYPE} newer version"])


def test_missing_keys_have_defaults() -> None:
    assert arrive(changed(BROADCAST, lambda head: head.pop("gone"))) == (BROADCAST, [])
    for content in (
        EndSessions(["a"], CloseCode.NOT_LOGGED_IN),
        CloseConnections(["a"], CloseCode.RESTART),
    ):
        assert arrive(changed(content, lambda head: head.pop("code"))) == (content, [])


def test_an_unknown_close_code_ends_the_session_all_the_same() -> None:
    ended = EndSessions(["a"], CloseCode.NOT_LOGGED_IN)

    assert arrive(changed(ended, lambda head: head.update(code=4999))) == (ended, [])


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


@pytest.mark.parametrize("message", [*BROKEN, b"bytes"])
def test_a_malformed_message_is_reported(message: Any) -> None:
    assert arrive(message) == (None, ["without a type malformed"])


@pytest.mark.parametrize("key", ["v", "signed", "digest"])
@pytest.mark.parametrize("broken", [*BROKEN, b"bytes", "ü", "{}", "[]\n{}", "[" * 10_000])
def test_a_malformed_envelope_is_reported(key: str, broken: Any) -> None:
    message = dump(BROADCAST, SITE)

    for malformed in ({**message, key: broken}, {k: v for k, v in message.items() if k != key}):
        content, (report,) = arrive(malformed)
        assert content is None
        assert report.startswith("notifications.broadcast ")


@pytest.mark.parametrize("line", ["", "{", "[]", "1", "null", "{}", "[" * 10_000, '{"sent_at": 1}'])
def test_a_malformed_text_is_reported_though_it_is_signed(line: str) -> None:
    assert arrive(sign(dump(BROADCAST, SITE), line)) in [
        (None, ["notifications.broadcast malformed"]),
        (None, ["notifications.broadcast too old"]),
    ]


@pytest.mark.parametrize("index", range(LiveUpdates.VALUES))
@pytest.mark.parametrize("broken", BROKEN)
def test_a_malformed_entry_does_not_harm_the_others(index: int, broken: Any) -> None:
    def spoil(head: Fields) -> None:
        head["entries"][1][index] = broken

    content, reports = arrive(changed(LiveUpdates([UPDATE] * 3), spoil))

    assert isinstance(content, LiveUpdates)
    if index == 0 and isinstance(broken, str):
        # An account without connections here.
        assert (list(content.entries), reports) == ([UPDATE] * 2, [])
    elif broken is None and index in {3, 4, 5}:
        assert (len(content.entries), reports) == (3, [])
    else:
        assert (list(content.entries), reports) == ([UPDATE] * 2, ["notifications.push malformed"])


@pytest.mark.parametrize("entry", BROKEN)
def test_a_value_in_place_of_an_entry_does_not_harm_the_others(entry: Any) -> None:
    def spoil(head: Fields) -> None:
        head["entries"][0] = entry

    content, reports = arrive(changed(LiveUpdates([UPDATE] * 2), spoil))

    assert content == LiveUpdates([UPDATE])
    assert reports in ([], ["notifications.push malformed"])


def test_missing_frames_do_not_harm_the_others() -> None:
    message = changed(LiveUpdates([UPDATE] * 3), lambda head: None, UPDATE.text, "")

    assert arrive(message) == (LiveUpdates([UPDATE]), ["notifications.push malformed"] * 2)


@pytest.mark.parametrize("key", ["sessions", "connections"])
def test_a_malformed_name_does_not_harm_the_others(key: str) -> None:
    content: Content = {
        "sessions": EndSessions([], CloseCode.NORMAL),
        "connections": CloseConnections([], CloseCode.NORMAL),
    }[key]

    read, reports = arrive(
        changed(content, lambda head: head.update({key: ["a", None, 1, "b", {}]}))
    )

    assert getattr(read, key) == ["a", "b"]
    assert reports == [f"{content.TYPE} malformed"] * 3


@pytest.mark.parametrize("created_at", ["2026-01-01T00:00:00", "yesterday", 5, None])
def test_a_time_that_cannot_be_compared_is_malformed(created_at: Any) -> None:
    message = changed(BROADCAST, lambda head: head.update(created_at=created_at))

    assert arrive(message) == (None, ["notifications.broadcast malformed"])


def test_times_of_a_site_without_time_zones_are_aware_and_may_come_without_one(
    settings: Any,
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "Asia/Tokyo"
    naive = BroadcastUpdate(9, "staff", datetime(2026, 1, 1, 9), False, "{}")  # as of 0.2.0
    aware = replace(naive, created_at=datetime(2026, 1, 1, tzinfo=UTC))

    assert arrive(dump(naive, SITE)) == (aware, [])
    assert arrive(dump(aware, SITE)) == (aware, [])


# --- Frames of other code

NOT_A_FRAME: list[tuple[Any, str]] = [
    (None, "must be a dict, not NoneType"),
    ([{"type": "progress"}], "must be a dict, not list"),
    ({}, "must have a “type”"),
    ({"type": None}, "must have a “type”"),
    ({"type": "progress", "seq": 10**17}, "can't have “seq”"),
    ({"type": "progress", "broadcast_seq": 1}, "can't have “broadcast_seq”"),
    ({"type": "progress", "content": b"bytes"}, "bytes is not JSON serializable"),
    ({"type": "progress", "content": float("nan")}, "not JSON compliant"),
    ({"type": "progress", "content": "\ud800"}, "half a surrogate pair"),
    ({"type": "progress", "content": {("a", "tuple"): 1}}, "keys must be str"),
    ({"type": "progress", "content": 10**5000}, "4300 digits"),
]


def endless() -> Fields:
    frame: Fields = {"type": "progress"}
    frame["content"] = frame
    return frame


def deep() -> Fields:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return {"type": "progress", "content": nested}


@pytest.mark.parametrize(("frame", "message"), NOT_A_FRAME)
def test_a_frame_that_browsers_cannot_read_raises_an_error(frame: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        PlainFrame.of(frame)


@pytest.mark.parametrize("make", [endless, deep])
def test_an_endless_frame_raises_an_error(make: Callable[[], Fields]) -> None:
    with pytest.raises(ValueError, match="Circular|nested so deeply"):
        PlainFrame.of(make())


@pytest.mark.parametrize("frame", [frame for frame, _ in NOT_A_FRAME])
def test_a_plain_frame_that_browsers_cannot_read_is_skipped(frame: Any, settings: Any) -> None:
    settings.NOTIFICATIONS_ACCEPT_UNSIGNED = True
    message = {"type": "notifications.frame", "frame": frame}

    assert arrive(message, account="1") == (None, ["notifications.frame malformed"])


# --- Anything else

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=5)
    | st.sampled_from(["1", "2", MAX_INTEGER, "notifications.push", "{}", "2026-01-01T00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
KINDS = [*(content.TYPE for content in CONTENTS), PlainFrame.TYPE]
KEYS = sorted({key for content in CONTENTS for key in content.head()} | {"frame", "sent_at"})


@given(
    kind=st.sampled_from(KINDS),
    head=st.dictionaries(st.sampled_from(KEYS), JUNK),
    entries=st.lists(st.lists(JUNK, max_size=7) | JUNK, max_size=3),
    frames=st.lists(st.text(max_size=5), max_size=3),
    account=st.sampled_from([None, "1"]),
)
def test_parsing_never_raises_an_error(
    kind: str, head: Fields, entries: Any, frames: list[str], account: str | None
) -> None:
    hub = Hub()
    line = json.dumps({"sent_at": SITE.now(), **head, "entries": entries})
    message = sign({"type": kind, "v": VERSION}, line, *frames)

    content = hub.take(message, account)

    assert all(set(report) <= set(string.ascii_letters + "._ ") for report in hub.reports)
    # The content can be sent to a browser.
    for entry in getattr(content, "entries", [content]):
        assert getattr(entry, "text", "x").encode()


@given(
    kind=st.sampled_from(KINDS),
    message=st.dictionaries(st.sampled_from(["v", "signed", "digest", *KEYS]), JUNK),
)
def test_nothing_unsigned_is_read(kind: str, message: Fields) -> None:
    hub = Hub()

    assert hub.take({**message, "type": kind}, account="1") is None
    assert len(hub.reports) == 1
