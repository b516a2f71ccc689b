"""Frames, names and limits of the wire protocol: pure functions."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications import protocol
from notifications.protocol import ClientError, CloseCode

# --- Group names


@pytest.mark.parametrize(
    "key", [1, 10**18, "alice", "a.b-c_d", "A" * 80, uuid.UUID(int=7)], ids=str
)
def test_the_group_name_contains_a_plain_key(key: object) -> None:
    assert protocol.account_group(key) == f"account_{key}"


@pytest.mark.parametrize("key", ["", "a b", "ä", "a@example.com", "A" * 81, "a\n", "١"])
def test_any_other_key_is_hashed(key: str) -> None:
    assert re.fullmatch(r"account\.sha256\.[0-9a-f]{64}", protocol.account_group(key))


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_every_account_has_its_own_valid_group_name(one: str, other: str) -> None:
    name = protocol.account_group(one)

    # What channel layers require of a group name.
    assert re.fullmatch(r"[a-zA-Z0-9_.-]{1,99}", name, re.ASCII)
    assert (name == protocol.account_group(other)) == (one == other)


# --- Message types


@pytest.mark.parametrize("value", ["a", "order_paid", "shop.order_paid2", "a" * 64])
def test_valid_message_types(value: str) -> None:
    assert protocol.is_valid_type(value)


@pytest.mark.parametrize(
    "value",
    ["", "a" * 65, "A", "1a", "_a", ".a", "a-b", "a b", "a\n", "ä", "aä", None, 1, b"a", ["a"]]
    + sorted(protocol.RESERVED_TYPES),
)
def test_invalid_message_types(value: object) -> None:
    assert not protocol.is_valid_type(value)


def test_the_protocols_own_types_are_reserved() -> None:
    frames = [
        protocol.error("bad_json", "No."),
        protocol.bye(CloseCode.RESTART),
        protocol.state("read", ["n1"]),
        protocol.state_range("read", {}),
    ]

    assert {"register", "heartbeat", "ping", "resync"} < protocol.RESERVED_TYPES
    assert {frame["type"] for frame in frames} < protocol.RESERVED_TYPES


# --- URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "/orders/12/",
        "/orders/?a=b#c",
        "/söme/päth",
        "/%2F/evil.example",
        "http://example.com",
        "HTTPS://example.com:8443/a",
        "https://[::1]/",
        "/" + "a" * 1999,
    ],
)
def test_safe_urls(url: str) -> None:
    assert protocol.is_safe_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "blob:https://example.com/x",
        "mailto:a@example.com",
        "ftp://example.com",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/ /evil.example",
        "/\x00",
        "/\x7f",
        "/\x85",
        "/\u2028",
        "/\ud800",
        "https://example.com/\udfff",
        "http:",
        "http:///evil.example",
        "http:evil.example",
        "http://[::1",
        "https://",
        "https://:443/",
        "orders/12/",
        "?a=b",
        "#top",
        "example.com",
        "/" + "a" * 2000,
        None,
        12,
        b"/orders/",
    ],
)
def test_unsafe_urls(url: object) -> None:
    assert not protocol.is_safe_url(url)


@settings(deadline=None)
@given(st.text(st.characters(), max_size=12) | st.from_regex(r"(/|https?:).{0,9}"))
def test_a_safe_url_can_be_stored_and_is_never_a_script(url: str) -> None:
    if protocol.is_safe_url(url):
        url.encode()
        assert not url or re.match(r"/(?!/)|https?://", url, re.IGNORECASE)


# --- Server frames


def test_a_frame_has_the_form_of_protocol_v1() -> None:
    frame = protocol.frame("order_paid", "Paid", {"order_id": 12}, seq=3)

    assert frame == {
        "type": "order_paid",
        "content": {"body": "Paid", "meta_data": {"order_id": 12}},
        "seq": 3,
    }
    assert protocol.frame("ping")["content"] == {"body": "", "meta_data": ""}


def test_a_frame_is_encoded_compactly_without_escapes() -> None:
    assert (
        protocol.encode(protocol.frame("a", "Größe 😀", None))
        == '{"type":"a","content":{"body":"Größe 😀","meta_data":null}}'
    )


def test_a_state_frame_names_items_or_a_range() -> None:
    ids = protocol.state("read", ["n1", "b2"], seq=4)
    change_range = protocol.state_range("read", {"from": 1, "seq": 4, "upto": {}}, seq=4)

    assert (ids["as"], ids["ids"], ids["seq"]) == ("read", ["n1", "b2"], 4)
    assert (change_range["as"], change_range["range"]["from"], change_range["seq"]) == (
        "read",
        1,
        4,
    )


@pytest.mark.parametrize(
    ("code", "number", "reconnect"),
    [
        (CloseCode.NORMAL, 1000, False),
        (CloseCode.RESTART, 4012, True),
        (CloseCode.PROTOCOL_ABUSE, 4400, False),
        (CloseCode.NOT_LOGGED_IN, 4401, False),
        (CloseCode.SESSION_CHANGED, 4402, True),
        (CloseCode.DEACTIVATED, 4403, False),
        (CloseCode.HEARTBEAT_LOST, 4408, True),
        (CloseCode.EVICTED, 4409, False),
        (CloseCode.TOO_FAST, 4429, True),
        (CloseCode.OVERLOADED, 4503, True),
    ],
)
def test_a_bye_contains_whether_to_reconnect(code: CloseCode, number: int, reconnect: bool) -> None:
    bye = json.loads(protocol.encode(protocol.bye(code, delay=1.5)))

    assert (bye["type"], bye["code"]) == ("bye", number)
    assert (bye["reconnect"], bye["delay"]) == (reconnect, 1.5)


def test_the_test_above_covers_every_close_code() -> None:
    assert len(CloseCode) == 10


# --- Client frames


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"heartbeat"}',
        ' {"type": "heartbeat", "content": {"body": "", "meta_data": ""}} ',
        '{"type":"x","type":"heartbeat"}',
        '{"type":"heartbeat","x":"' + "ä" * 2000 + '"}',
    ],
)
def test_a_heartbeat_is_parsed(text: str) -> None:
    assert protocol.parse_client_frame(text, 4096) == "heartbeat"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "bad_frame"),
        ("", "bad_json"),
        ("heartbeat", "bad_json"),
        ("[" * 4096, "bad_json"),
        ('{"a":' * 800, "bad_json"),
        ("1" * 4096, "bad_frame"),
        ("[]", "bad_frame"),
        ('"heartbeat"', "bad_frame"),
        ("null", "bad_frame"),
        ("{}", "bad_field"),
        ('{"Type":"heartbeat"}', "bad_field"),
        ('{"type":null}', "bad_field"),
        ('{"type":["heartbeat"]}', "bad_field"),
        ('{"type":""}', "bad_type"),
        ('{"type":"Heartbeat"}', "bad_type"),
        ('{"type":"register"}', "bad_type"),
        ('{"type":"__init__"}', "bad_type"),
        ('{"type":"\\ud800"}', "bad_type"),
        ('{"type":"heartbeat","x":"' + "a" * 4096 + '"}', "bad_frame"),
        ('{"type":"heartbeat","x":"' + "ä" * 2048 + '"}', "bad_frame"),
        ("\ud800" * 10, "bad_json"),
    ],
)
def test_any_other_frame_is_refused_with_its_code(text: str | None, code: str) -> None:
    with pytest.raises(ClientError) as refused:
        protocol.parse_client_frame(text, 4096)

    assert refused.value.code == code
    assert str(refused.value)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)
@given(st.text() | _json.map(json.dumps))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        assert protocol.parse_client_frame(text, 4096) == "heartbeat"
    except ClientError as refused:
        code: Any = refused.code
        assert code in {"bad_json", "bad_frame", "bad_field", "bad_type"}
