"""Weaknesses of the Go server, the design that this project started from."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from websockets.exceptions import ConnectionClosed

from tests.traps.peers import GoServer, Ours, Peer, Plain, bodies, close_code, receive, refusal


def test_a_client_can_claim_any_account(go: GoServer, ours: Ours) -> None:
    with go.open_ready(None, query={"user_id": "bob"}) as impostor:
        go.send("bob", "for bob")
        assert bodies(impostor) == ["for bob"]

    with ours.open(None, query={"user_id": "bob", "account": "bob"}) as impostor:
        assert receive(impostor, "bye")["code"] == close_code(impostor) == 4401


def test_pages_of_any_site_can_connect(go: GoServer, ours: Ours) -> None:
    with go.open(None, origin="https://evil.example") as connection:
        assert receive(connection, "register")

    assert refusal(ours, ours.visitor("alice"), origin="https://evil.example") == 403


def delivers_despite_a_slow_client(peer: Peer) -> bool:
    """Whether broadcasts reach others within seconds while one client never reads."""
    slow = socket.create_connection(("127.0.0.1", peer.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with (
        peer.open_ready(peer.visitor("alice"), sock=slow, max_queue=(1, 0), close_timeout=0),
        peer.open_ready(peer.visitor("bob"), query={"user_id": "bob"}) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        # More than the kernel buffers.
        broadcasts = [thread.submit(peer.broadcast_to_all, str(n), 500_000) for n in range(16)]
        try:
            return all(receive(other, "bench", 5) for _ in broadcasts)
        finally:
            for each in broadcasts:
                each.cancel()


def test_a_client_that_never_reads_stalls_all_others(go: GoServer, ours: Ours) -> None:
    assert not delivers_despite_a_slow_client(go)
    assert delivers_despite_a_slow_client(ours)


def answers_ten_megabytes(peer: Peer) -> bool:
    with peer.open_ready(peer.visitor("alice")) as connection:
        with suppress(ConnectionClosed):
            connection.send('{"type":"heartbeat","padding":"' + "x" * 10_000_000 + '"}')
        return receive(connection, "heartbeat", 20) is not None


def test_a_client_may_send_a_frame_of_any_size(go: GoServer, ours: Ours) -> None:
    assert answers_ten_megabytes(go)
    assert not answers_ten_megabytes(ours)


def bodies_after_reconnecting(peer: Peer) -> list[str]:
    visitor = peer.visitor("carol")
    query = {"user_id": "carol"}
    with peer.open(visitor, query=query) as connection:
        register = receive(connection, "register")
    position = {k: register[k] for k in ("seq", "broadcast_seq", "epoch", "scope") if k in register}
    peer.send("carol", "meanwhile")
    with peer.open(visitor, query={**query, **position}) as connection:
        return bodies(connection)


def test_a_notification_while_nobody_is_connected_is_lost(
    go: GoServer, plain: Plain, ours: Ours
) -> None:
    assert bodies_after_reconnecting(go) == []
    assert bodies_after_reconnecting(plain) == []
    assert bodies_after_reconnecting(ours) == ["meanwhile"]


def test_a_process_knows_only_its_own_connections(go: GoServer, start) -> None:
    another = start(GoServer)
    with go.open_ready(None, query={"user_id": "bob"}) as tab:
        another.send("bob", "at the other server")
        assert bodies(tab) == []


def test_a_stopped_server_sends_no_bye(start, env) -> None:
    def stop(peer: Peer) -> tuple[int | None, bool]:
        with peer.open_ready(peer.visitor("bob")) as tab:
            peer.process.send_signal(signal.SIGTERM)
            bye = receive(tab, "bye", 5)
            return close_code(tab), bool(bye and bye["reconnect"])

    assert stop(start(GoServer)) == (1006, False)
    assert stop(start(lambda directory: Ours(directory, env))) == (4012, True)
