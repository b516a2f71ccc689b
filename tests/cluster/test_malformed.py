"""Bytes that no browser sends: every server answers or refuses them, without a traceback."""

from __future__ import annotations

import itertools
import json
import os
import random
import socket
import struct
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.demo_data import make_demo_data
from harness.frames import BINARY, CLOSE, HEARTBEAT, PING, TEXT, frame
from harness.raw_client import RawClient, handshake_request
from harness.services import free_port, site_server

EXAMPLES = int(os.environ.get("FRAME_EXAMPLES", "50"))
GARBAGE = random.Random(5).randbytes(4000)

# Bytes to send, and the code of the `error` or of the close.
FRAMES = {
    "not JSON": (frame(b"{"), "bad_json"),
    "an empty text frame": (frame(b""), "bad_json"),
    "an empty binary frame": (frame(b"", BINARY), "bad_frame"),
    "a binary frame": (frame(b"\x00\xff", BINARY), "bad_frame"),
    "a list": (frame(b"[]"), "bad_frame"),
    "a number of 5,000 digits": (frame(b"1" * 5000), "bad_frame"),
    "a number of 4,000 digits": (frame(b"1" * 4000), "bad_frame"),
    "NaN": (frame(b'{"type":NaN}'), "bad_field"),
    "a lone surrogate": (frame(b'{"type":"\\ud800"}'), "bad_type"),
    "deep nesting": (frame(b"[" * 4000), "bad_json"),
    "a list as type": (frame(b'{"type":["heartbeat"]}'), "bad_field"),
    "an unknown type": (frame(b'{"type":"__class__"}'), "bad_type"),
    "a letter in two fragments": (
        frame(b"\xc3", fin=False) + frame(b"\xa4", opcode=0),
        "bad_json",
    ),
    "not UTF-8": (frame(b"\xff\xfe"), 1007),
    "an encoded surrogate": (frame(b'{"type":"\xed\xa0\x80"}'), 1007),
    "fragments without a first": (frame(HEARTBEAT, opcode=0), 1002),
    "a compression bit": (frame(HEARTBEAT, rsv=4), 1002),
    "an unknown opcode": (frame(b"x", opcode=3), 1002),
    "a long ping": (frame(b"x" * 200, PING), 1002),
    "a fragmented ping": (frame(b"x", PING, fin=False), 1002),
    "unmasked": (b"\x81\x14" + HEARTBEAT, 1002),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1002),
    "garbage": (GARBAGE, 1002),
    "2 MB": (frame(b"x" * 2_000_000), 1009),
    "2 MB in fragments": (
        frame(b"x" * 20_000, fin=False) + frame(b"x" * 20_000, 0, fin=False) * 100,
        1009,
    ),
    "a length of 2**62": (b"\x81\xff" + struct.pack("!Q", 2**62) + bytes(4) + b"x", 1009),
}
# Invalid handshakes, and the statuses that may refuse them; 0 means closed without a response.
HANDSHAKES = {
    "a path that is not ASCII": (lambda text: text.replace(b"ws/not", b"ws/\xff\xfe"), {400}),
    "a path of arbitrary bytes": (
        lambda text: text.replace(b"ws/not", b"ws/%ff%00%zz"),
        {400, 403},
    ),
    "a query that is not ASCII": (lambda text: text.replace(b"/ HTTP", b"/?seq=\xff HTTP"), {400}),
    "a header name that is not ASCII": (lambda text: with_header(text, b"X-\xff: 1"), {400}),
    "a NUL in a header": (lambda text: with_header(text, b"User-Agent: a\x00b"), {400}),
    "a protocol that is not ASCII": (
        lambda text: with_header(text, b"Sec-WebSocket-Protocol: \xff,,%ff"),
        {400, 500},  # 500 is Daphne's own response
    ),
    "two hosts": (lambda text: with_header(text, b"Host: evil.example"), {400, 403}),
    "another host": (lambda text: text.replace(b"Host: 127.0.0.1", b"Host: \xff@evil/"), {403}),
    "another version": (lambda text: text.replace(b"Version: 13", b"Version: 99"), {400}),
    "a POST": (lambda text: text.replace(b"GET", b"POST"), {405}),
    "TLS": (lambda text: b"\x16\x03\x01\x02\x00\x01\x00" + GARBAGE + b"\r\n\r\n", {0, 400}),
}
# Strange handshakes that are accepted.
HARMLESS = {
    "a thousand fields": lambda text: text.replace(b"/ HTTP", b"/?" + b"a=1&" * 1200 + b" HTTP"),
    "numbers of any size": lambda text: text.replace(b"/ HTTP", b"/?seq=" + b"9" * 999 + b" HTTP"),
    "NUL and invalid UTF-8": lambda text: text.replace(b"/ HTTP", b"/?seq=%00&scope=%ff%fe HTTP"),
    "forged proxy headers": lambda text: with_header(
        text, b"X-Forwarded-For: <script>, 999.1.1.1\r\nX-Forwarded-Proto: gopher"
    ),
}


def with_header(handshake, header):
    return handshake.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n\r\n")


@pytest.fixture(scope="module", params=["daphne", "plain daphne", "uvicorn"])
def server(request, tmp_path_factory):
    database = tmp_path_factory.mktemp("site") / "site.sqlite3"
    env = {
        "DATABASE_URL": f"sqlite:///{database}",
        "DJANGO_SETTINGS_MODULE": "tests.cluster.settings",
    }
    make_demo_data(env)
    with site_server(free_port(), env, request.param) as server:
        yield server
        output = server.output()
    assert "Traceback" not in output
    assert "__class__" not in output  # no client input is logged


@pytest.fixture
def alice(server, new_visitor):
    return new_visitor(server.url, "alice")


def test_every_malformed_frame_gets_an_error_or_a_close_code(server, alice, request):
    codes = {}
    for name, (data, _) in FRAMES.items():
        client = RawClient(server.port).open_tab(alice)
        client.receive_frames("heartbeat")
        client.send(data + frame(HEARTBEAT))
        frames, code = client.receive_frames("heartbeat")
        codes[name] = next((frame["code"] for frame in frames if frame["type"] == "error"), code)
        client.close()

    expected = {name: code for name, (_, code) in FRAMES.items()}
    if "plain daphne" in request.node.name:
        # By default, Autobahn drops the connection instead.
        expected = {name: None if type(code) is int else code for name, code in expected.items()}
    assert codes == expected


WORDS = st.sampled_from(["type", "heartbeat", "content"])
HEARTBEATS = st.sampled_from([HEARTBEAT, b' {"x":[{}],"type":"heartbeat"}\n', b"{}", b"[]", b""])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(), inner),
).map(lambda value: json.dumps(value).encode())
TEXTS = HEARTBEATS | JSON | st.text(max_size=200).map(lambda text: text.encode())
MESSAGES = st.tuples(TEXTS, st.just(TEXT)) | st.tuples(st.binary(max_size=50), st.just(BINARY))
# A message in fragments of any size, with or without pings between them.
FRAGMENTED = st.tuples(MESSAGES, st.lists(st.integers(0, 300), max_size=3), st.booleans())
ANY_FRAMES = st.lists(
    st.builds(
        frame,
        st.binary(max_size=300) | TEXTS,
        opcode=st.integers(0, 15).filter(lambda opcode: opcode != CLOSE),
        fin=st.booleans(),
        rsv=st.sampled_from([0, 0, 0, 1, 2, 4, 7]),
    ),
    min_size=1,
    max_size=10,
)
CLOSE_CODES = {None, 1000, 1002, 1005, 1007, 1009}


def fragments(message, cuts, with_ping):
    (payload, opcode) = message
    bounds = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
    parts = [payload[begin:end] for begin, end in itertools.pairwise(bounds)]
    sent = [
        frame(part, 0 if n else opcode, fin=n == len(parts) - 1) for n, part in enumerate(parts)
    ]
    return (frame(b"?", PING) if with_ping else b"").join(sent)


def is_heartbeat(payload, opcode):
    if opcode == BINARY:
        return False
    try:
        frame = json.loads(payload)
    except ValueError:
        return False
    return isinstance(frame, dict) and frame.get("type") == "heartbeat"


@pytest.mark.verify
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck]
)
@given(st.lists(FRAGMENTED, min_size=1, max_size=10))
def test_messages_in_any_sequence_are_answered_in_order(server, alice, sequence):
    client = RawClient(server.port).open_tab(alice)
    client.receive_frames("heartbeat")
    try:
        client.send(b"".join(fragments(*one) for one in sequence))

        replies = []
        while len(replies) < len(sequence):
            opcode, payload = client.receive()
            if opcode == TEXT and (type := json.loads(payload)["type"]) != "ping":
                replies.append(type)
        expected = ["heartbeat" if is_heartbeat(*one[0]) else "error" for one in sequence]
        assert replies == expected
    finally:
        client.close()


@pytest.mark.verify
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck]
)
@given(ANY_FRAMES)
def test_any_sequence_of_frames_is_answered_or_closes_the_connection(server, alice, frames):
    client = RawClient(server.port).open_tab(alice)
    client.receive_frames("heartbeat")
    try:
        client.send(b"".join(frames))
        with suppress(OSError):  # already closed
            client.socket.shutdown(socket.SHUT_WR)

        received, code = client.receive_frames()
        assert code in CLOSE_CODES
        assert {each["type"] for each in received} <= {"heartbeat", "error", "ping"}
    finally:
        client.close()


def test_a_frame_can_arrive_in_fragments_of_one_byte(server, alice):
    client = RawClient(server.port).open_tab(alice)
    client.receive_frames("heartbeat")
    last = len(HEARTBEAT) - 1

    for n, byte in enumerate(HEARTBEAT):
        client.send(frame(bytes([byte]), 0 if n else TEXT, fin=n == last))

    assert client.receive_frames("heartbeat")[0][-1]["unread"] == 0
    client.close()


def test_any_close_frame_closes_the_connection(server, alice):
    for payload in (b"", b"x", b"\x00\x01", b"\x03\xe8\xff\xfe", b"\x03\xe8" + b"x" * 123):
        client = RawClient(server.port).open_tab(alice)
        client.receive_frames("heartbeat")
        client.send(frame(payload, CLOSE))
        while (received := client.receive()) is not None:
            assert received[0] == CLOSE or b'"ping"' in received[1]
        client.close()


def test_invalid_handshakes_are_refused_and_strange_ones_accepted(server, alice):
    handshake = handshake_request(server.port, alice.cookie_header)
    for name, (break_it, statuses) in HANDSHAKES.items():
        client = RawClient(server.port)
        assert client.do_handshake(break_it(handshake)) in statuses, name
        client.close()
    for name, change in HARMLESS.items():
        client = RawClient(server.port)
        assert client.do_handshake(change(handshake)) == 101, name
        assert client.receive_frames("heartbeat")[0][0]["type"] == "register", name
        client.close()


def test_an_invalid_session_cookie_is_refused_with_4401(server):
    for cookie in ("", "sessionid=", 'sessionid="\\000"', "=;=;;;", "sessionid=" + "x" * 4000):
        client = RawClient(server.port)
        assert client.do_handshake(handshake_request(server.port, cookie)) == 101
        assert client.receive_frames()[1] == 4401
        client.close()


def test_a_forged_root_path_has_no_effect(server, alice):
    handshake = with_header(
        handshake_request(server.port, alice.cookie_header), b"Daphne-Root-Path: /%ff\xff"
    )
    client = RawClient(server.port)

    status = client.do_handshake(handshake)

    assert status == 101
    client.close()


def test_a_flooding_client_is_cut_off_while_others_are_answered(server, alice, new_visitor):
    neighbour = new_visitor(server.url, "bob").open_tab(server.url)
    neighbour.receive("heartbeat")
    before = server.memory_mb()
    clients = [RawClient(server.port).open_tab(alice) for _ in range(5)]

    for client in clients:
        client.receive_frames("heartbeat")
    for _ in range(20):
        for client in clients:
            client.send(frame(HEARTBEAT) * 1000)
        neighbour.send('{"type": "heartbeat"}')
        assert neighbour.receive("heartbeat")["unread"] == 0

    for client in clients:
        frames, code = client.receive_frames()
        kinds = [frame.get("code", frame["type"]) for frame in frames]
        assert kinds.count("rate_limited") == 1
        assert len(kinds) < 200
        assert (code, kinds[-1]) in {(4429, 4429), (None, 4429)}
        client.close()
    assert server.output().count("Disconnected a client") == 5
    assert server.memory_mb() - before < 20
