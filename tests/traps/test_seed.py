"""The design that this project started from, in Go: what it gets wrong by being what it is."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from websockets.exceptions import ConnectionClosed

from tests.traps.peers import Ours, Peer, Plain, Seed, bodies, close_code, receive, refusal


def test_who_names_an_account_is_the_account(seed: Seed, ours: Ours) -> None:
    with seed.open_level(None, query={"user_id": "bob"}) as impostor:
        seed.tell("bob", "for bob")
        assert bodies(impostor) == ["for bob"]

    with ours.open(None, query={"user_id": "bob", "account": "bob"}) as impostor:
        assert receive(impostor, "bye")["code"] == close_code(impostor) == 4401


def test_a_page_of_any_site_gets_in(seed: Seed, ours: Ours) -> None:
    with seed.open(None, origin="https://evil.example") as socket:
        assert receive(socket, "register")

    assert refusal(ours, ours.visitor("alice"), origin="https://evil.example") == 403


def all_are_told_despite_a_slow_reader(peer: Peer) -> bool:
    """Whether others are told, within seconds, what all are told, when one never reads."""
    slow = socket.create_connection(("127.0.0.1", peer.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with (
        peer.open_level(peer.visitor("alice"), sock=slow, max_queue=(1, 0), close_timeout=0),
        peer.open_level(peer.visitor("bob"), query={"user_id": "bob"}) as other,
        ThreadPoolExecutor(1) as telling,
    ):
        # More than the kernel takes off a server's hands.
        told = [telling.submit(peer.tell_everyone, str(n), 500_000) for n in range(16)]
        try:
            return all(receive(other, "bench", 5) for _ in told)
        finally:
            for one in told:
                one.cancel()


def test_one_that_never_reads_stalls_all_others(seed: Seed, ours: Ours) -> None:
    assert not all_are_told_despite_a_slow_reader(seed)
    assert all_are_told_despite_a_slow_reader(ours)


def answers_ten_megabytes(peer: Peer) -> bool:
    with peer.open_level(peer.visitor("alice")) as socket:
        with suppress(ConnectionClosed):
            socket.send('{"type":"heartbeat","padding":"' + "x" * 10_000_000 + '"}')
        return receive(socket, "heartbeat", 20) is not None


def test_a_client_may_say_any_amount_at_once(seed: Seed, ours: Ours) -> None:
    assert answers_ten_megabytes(seed)
    assert not answers_ten_megabytes(ours)


def told_after_coming_back(peer: Peer) -> list[str]:
    visitor = peer.visitor("carol")
    query = {"user_id": "carol"}
    with peer.open(visitor, query=query) as connection:
        register = receive(connection, "register")
    cursor = {k: register[k] for k in ("seq", "broadcast_seq", "epoch", "scope") if k in register}
    peer.tell("carol", "meanwhile")
    with peer.open(visitor, query={**query, **cursor}) as connection:
        return bodies(connection)


def test_what_comes_while_nobody_is_there_is_lost(seed: Seed, plain: Plain, ours: Ours) -> None:
    assert told_after_coming_back(seed) == []
    assert told_after_coming_back(plain) == []
    assert told_after_coming_back(ours) == ["meanwhile"]


def test_a_process_knows_only_its_own_sockets(seed: Seed, start) -> None:
    another = start(Seed)
    with seed.open_level(None, query={"user_id": "bob"}) as tab:
        another.tell("bob", "at the other server")
        assert bodies(tab) == []


def test_a_stopped_server_says_nothing(start, env) -> None:
    def told(peer: Peer) -> tuple[int | None, bool]:
        with peer.open_level(peer.visitor("bob")) as tab:
            peer.process.send_signal(signal.SIGTERM)
            bye = receive(tab, "bye", 5)
            return close_code(tab), bool(bye and bye["reconnect"])

    assert told(start(Seed)) == (1006, False)
    assert told(start(lambda directory: Ours(directory, env))) == (4012, True)
