"""Bodies of any size: memory stays flat, others are answered, and --max-body refuses them."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import re
import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from harness.frames import upgrade_request
from harness.services import free_port, site_server
from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.certificates import make_certificate
from tests.cluster.conftest import FAST, wait_until

MB = 1024 * 1024
KIB_64 = 64 * 1024
LARGE = 200 * MB
MAX_GROWTH_MB = 40
MAX_BODY = 1 * MB
MAX_ANSWER_SECONDS = 0.2  # for a neighbour
GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
REPORT = "tests.cluster.receiving"


def head(*headers, method="POST", path="/healthz"):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_SECONDS)
    return closing(connection)


def connect_with_tls(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_SECONDS)
    untrusting = ssl.create_default_context()
    untrusting.check_hostname, untrusting.verify_mode = False, ssl.CERT_NONE
    return closing(untrusting.wrap_socket(connection))


def send(connection, data):
    """Send all of it, or as much as the server reads before it closes the connection."""
    try:
        connection.sendall(data)
    except (ConnectionError, ssl.SSLError):
        return False
    return True


def statuses(connection):
    """Return the statuses of all responses until the server closes the connection."""
    data = b""
    try:
        while received := connection.recv(KIB_64):
            data += received
    except ConnectionError:
        pass
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", data)]


def send_large(server, *headers, is_chunked=False):
    """Send a body of 200 MB; return the statuses of the responses."""
    part = b"a=1&" * (MB // 4)
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {LARGE}"
    with connect(server) as connection:
        connection.sendall(head("Connection: close", length, *headers))
        for _ in range(LARGE // MB):
            if not send(connection, chunk(part) if is_chunked else part):
                break
        if is_chunked:
            send(connection, b"0\r\n\r\n")
        return statuses(connection)


def peak_mb(server):
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(request, tmp_path_factory):
    env = {**FAST, "DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('site')}/site.sqlite3"}
    with site_server(free_port(), env, request.param) as server:
        yield server
        assert "Traceback" not in server.output()


@pytest.fixture(scope="module")
def limited():
    with site_server(free_port(), FAST, options="--max-body 1M") as server:
        yield server
        assert "Traceback" not in server.output()


@pytest.fixture(scope="module")
def limited_with_tls(tmp_path_factory):
    tls = make_certificate(tmp_path_factory.mktemp("tls"))
    with site_server(free_port(), FAST, options="--max-body 1M", tls=tls) as server:
        yield server
        assert "Traceback" not in server.output()


@pytest.fixture(scope="module")
def reporting():
    with site_server(free_port(), FAST, application=REPORT) as server:
        yield server
        assert "Traceback" not in server.output()


@pytest.mark.verify(60)
@pytest.mark.parametrize(
    ("headers", "is_chunked"),
    [([], False), ([], True), ([f"Content-Type: {FORM}"], False), ([f"Content-Type: {FORM}"], True)]
    + [([f"Content-Type: {MULTIPART}"], is_chunked) for is_chunked in (False, True)],
    ids=["plain", "chunked", "form", "form, chunked", "multipart", "multipart, chunked"],
)
def test_a_large_body_leaves_memory_flat(server, headers, is_chunked):
    before = server.memory_mb()

    (status,) = send_large(server, *headers, is_chunked=is_chunked)

    assert status < 500
    assert peak_mb(server) - before < MAX_GROWTH_MB


SIZES = [0, 1, 8192, KIB_64 - 1, KIB_64, KIB_64 + 1, 4 * KIB_64, 3 * MB + 7]


def test_the_application_reads_every_body_whole_and_in_parts(reporting):
    connection = http.client.HTTPConnection("127.0.0.1", reporting.port, timeout=TIMEOUT_SECONDS)
    for size in SIZES:
        body = random.Random(size).randbytes(size)
        for encoded in (body, iter([body[:1000], body[1000:]])):  # by its length, and in chunks
            connection.request("POST", "/", encoded)
            report = json.load(connection.getresponse())
            assert (report["size"], report["sha256"]) == (size, hashlib.sha256(body).hexdigest())
            assert report["longest"] <= KIB_64
    connection.close()


def test_a_body_that_ends_early_is_forgotten(reporting):
    for length in (f"Content-Length: {MB}", "Transfer-Encoding: chunked"):
        with connect(reporting) as connection:
            connection.sendall(head(length) + chunk(b"x" * KIB_64))
    assert reporting.answers()


# --- A maximum


@pytest.mark.parametrize("size", [MAX_BODY, MAX_BODY + 1])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_above_the_maximum_is_answered_with_413(limited, size, is_chunked):
    body = b"x" * size
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    with connect(limited) as connection:
        connection.sendall(head("Connection: close", length))
        half = size // 2
        parts = [chunk(body[:half]), chunk(body[half:]), b"0\r\n\r\n"] if is_chunked else [body]
        for part in parts:
            connection.sendall(part)

        assert (statuses(connection) == [413]) == (size > MAX_BODY)


def test_a_body_above_the_maximum_is_refused_before_it_is_sent(limited):
    for length in (MAX_BODY + 1, 10**18):
        with connect(limited) as connection:
            connection.sendall(head(f"Content-Length: {length}", "Expect: 100-continue"))
            assert statuses(connection) == [413]


def test_chunks_are_refused_as_soon_as_they_exceed_the_maximum(limited):
    with connect(limited) as connection:
        connection.sendall(head("Transfer-Encoding: chunked") + chunk(b"x" * (MAX_BODY + 1)))
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_client_that_goes_on_sending_is_disconnected(limited):
    with connect(limited) as connection:
        connection.sendall(head(f"Content-Length: {10**18}"))
        ends = time.monotonic() + TIMEOUT_SECONDS
        while send(connection, b"x" * KIB_64):
            assert time.monotonic() < ends


@pytest.mark.parametrize(
    "rest",
    [b"", b"x" * (MAX_BODY + 1), b"0\r\n\r\n", b"zz\r\n", GET, b"x" * 2 * MAX_BODY],
    ids=["nothing", "all", "an end of chunks", "no chunk", "a request", "more"],
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_nothing_that_follows_a_refused_body_is_a_request(limited, is_chunked, rest):
    with connect(limited) as connection:
        if is_chunked:
            start = head("Transfer-Encoding: chunked") + chunk(b"x" * (MAX_BODY + 1))
        else:
            start = head(f"Content-Length: {MAX_BODY + 1}")
        send(connection, start + rest)
        send(connection, GET * 3)

        answered = statuses(connection)
    assert answered in ([413], [413, 400])  # 400: Twisted's, to what is no chunk


def test_through_tls_a_refused_client_that_goes_on_is_disconnected(limited_with_tls):
    with connect_with_tls(limited_with_tls) as connection:
        connection.sendall(head(f"Content-Length: {10**18}"))
        assert connection.recv(12) == b"HTTP/1.1 413"
        ends = time.monotonic() + TIMEOUT_SECONDS
        while send(connection, b"x" * KIB_64):
            assert time.monotonic() < ends
    assert limited_with_tls.answers()


@pytest.mark.parametrize("option", ["", "10X", "-1", "0"])
def test_a_maximum_that_is_no_size_is_refused_at_the_start(option):
    with (
        pytest.raises(RuntimeError, match="is not a size such as 1000000, 512K, 10M or 1G"),
        site_server(free_port(), FAST, options=f"--max-body={option}"),
    ):
        pass


def test_a_maximum_that_an_untested_daphne_does_not_keep_is_logged():
    untested = "tests.cluster.changed daphne==4.20"
    with site_server(free_port(), FAST, through=untested, options="--max-body 1M") as server:
        wait_until(lambda: "--max-body has no effect: " in server.output())


# --- Handshakes


@pytest.mark.parametrize(
    "length", [f"Content-Length: {LARGE}", "Content-Length: 1", "Transfer-Encoding: chunked"]
)
def test_a_handshake_with_a_body_is_refused(limited, length):
    before = limited.memory_mb()
    part = b"x" * MB
    handshake = upgrade_request(
        limited.port, "/ws/notifications/", {"Origin": limited.url}, length.encode() + b"\r\n"
    )
    with connect(limited) as connection:
        connection.sendall(handshake)
        for _ in range(LARGE // MB):
            if not send(connection, chunk(part) if "chunked" in length else part):
                break
        assert statuses(connection) == [400]
    assert peak_mb(limited) - before < MAX_GROWTH_MB


def test_a_client_that_does_not_wait_for_its_handshake_is_disconnected():
    patient = "--websocket_connect_timeout 600"  # or it would be disconnected after five seconds
    with (
        site_server(free_port(), FAST, application=REPORT, options=patient) as server,
        connect(server) as connection,
    ):
        connection.sendall(upgrade_request(server.port, "/", {}) + b"x")
        # What arrives together with the handshake counts as read with it.
        wait_until(lambda: not send(connection, b"x"))
        with suppress(ConnectionError):
            assert statuses(connection) == []


# --- Others


@pytest.mark.realtime
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_body_delays_no_other_client(start_site, new_visitor, is_chunked):
    (process,) = start_site(FAST).servers
    neighbour = new_visitor(process.url, "bob").open_tab(process.url)
    neighbour.receive("heartbeat")
    sender = threading.Thread(target=send_large, args=[process], kwargs={"is_chunked": is_chunked})

    answers = []
    sender.start()
    while sender.is_alive():
        sent_at = time.monotonic()
        neighbour.send('{"type": "heartbeat"}')
        neighbour.receive("heartbeat")
        answers.append(time.monotonic() - sent_at)
        time.sleep(0.02)

    assert max(answers) < MAX_ANSWER_SECONDS, sorted(answers)[-5:]
