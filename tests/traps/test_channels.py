"""Channels as in its tutorial, on a real server."""

from __future__ import annotations

import signal

import pytest

from tests.traps.peers import Ours, Plain, bodies, close_code, receive, refusal

BAD_FRAMES = ["not json", "", b"\x00\xff", "[1]", '{"type": ' + "9" * 5000 + "}"]


@pytest.mark.parametrize("frame", BAD_FRAMES, ids=["text", "empty", "binary", "list", "digits"])
def test_one_bad_frame_closes_the_connection(plain: Plain, ours: Ours, frame: str | bytes) -> None:
    with plain.open_ready(plain.visitor("alice")) as tab:
        tab.send(frame)
        assert close_code(tab) == 1011

    with ours.open_ready(ours.visitor("alice")) as tab:
        tab.send(frame)
        assert receive(tab, "error")["code"].startswith("bad_")
        tab.send('{"type":"heartbeat"}')
        assert receive(tab, "heartbeat")
    assert "Traceback" in plain.output()
    assert "Traceback" not in ours.output()


def test_a_refused_client_does_not_learn_why(plain: Plain, ours: Ours) -> None:
    """A browser sees 1006 for any refusal before the accept."""
    assert refusal(plain, None) == 403

    with ours.open(None) as tab:
        assert close_code(tab) == 4401


@pytest.mark.parametrize(
    "origin",
    ["ftp://127.0.0.1", "chrome-extension://127.0.0.1", "http://127.0.0.1:1", "https://127.0.0.1"],
)
def test_pages_of_another_scheme_or_port_can_connect(plain: Plain, ours: Ours, origin: str) -> None:
    with plain.open(plain.visitor("alice"), origin=origin) as tab:
        assert receive(tab, "register")

    assert refusal(ours, ours.visitor("alice"), origin=origin) == 403


def test_a_logout_leaves_connections_open(plain: Plain) -> None:
    visitor = plain.visitor("alice")
    with plain.open_ready(visitor) as tab:
        assert visitor and visitor.submit(f"{plain.url}/", f"{plain.url}/logout/") == 200
        plain.send("alice", "for a logged-in visitor")
        assert bodies(tab) == ["for a logged-in visitor"]


# --- Daphne


@pytest.mark.parametrize("code", [1001, 1008, 1011, 1012, 1013])
def test_daphne_supports_few_close_codes(plain: Plain, code: int) -> None:
    """So ours are 1000 and 4xxx, with the reason in a `bye` frame."""
    with plain.open(plain.visitor("alice"), path="/ws/closing/") as tab:
        tab.send(str(code))
        assert close_code(tab) == 1011

    with plain.open(plain.visitor("alice"), path="/ws/closing/") as tab:
        tab.send("4012")
        assert close_code(tab) == 4012


def test_stopping_without_closing_leaves_the_connection_open_and_unread(plain: Plain) -> None:
    with plain.open(plain.visitor("alice"), path="/ws/stopping/", close_timeout=0) as tab:
        tab.send("stop")
        tab.send("is anybody there?")
        assert close_code(tab, 2) is None


def test_a_stopped_daphne_sends_no_close_codes(start, env) -> None:
    daphne = start(lambda directory: Plain(directory, env))
    with daphne.open_ready(daphne.visitor("alice")) as tab:
        daphne.process.send_signal(signal.SIGTERM)
        assert receive(tab, "bye") is None
        assert close_code(tab) == 1006


def test_daphne_closes_old_connections(start, env) -> None:
    """By default after a day; our server turns that off."""
    daphne = start(lambda directory: Plain(directory, env, "--websocket_timeout 2"))
    with daphne.open_ready(daphne.visitor("alice")) as tab:
        assert close_code(tab, 10) is not None
