"""Servers that users bring along, with all that a tab needs."""

from __future__ import annotations

import sys
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version

import pytest

from harness.frames import HEARTBEAT, TEXT, frame
from harness.raw_client import RawClient
from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.conftest import FAST, wait_until

# What has to be installed for each.
PACKAGES = {
    "uvicorn, wsproto": "wsproto",
    "gunicorn": "uvicorn-worker",
    "hypercorn": "hypercorn",
    "granian": "granian",
}
# What servers tell clients when they are stopped, and None of those that cut them off.
COME_BACK = {1001, 1011, 1012, 4012, None}
# Hypercorn 0.18 awaits asyncio's Server.wait_closed(), which since Python 3.12.1 returns only once
# all clients have gone: hypercorn#308.
WAITS_FOR_CLIENTS = sys.version_info >= (3, 12, 1)
# asyncio logs it, with a traceback, of connections that hypercorn cancels when it is stopped.
HYPERCORNS_OWN = "Exception in callback StreamReaderProtocol.connection_made"
UVICORNS = ["uvicorn, no options", "uvicorn, websockets", "uvicorn, wsproto"]


@pytest.fixture
def site(start_site, shared_redis, request):
    server = request.param
    if package := PACKAGES.get(server):
        try:
            version(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
    return start_site({"REDIS_URL": shared_redis.url, **FAST}, server=server)


@pytest.mark.parametrize(
    "site",
    [
        *UVICORNS,
        *(
            pytest.param(server, marks=pytest.mark.verify(15))
            for server in ("gunicorn", "hypercorn", "granian")
        ),
    ],
    indirect=True,
)
def test_a_tab_has_all_it_needs(request, site, new_visitor):
    (server,) = site.servers
    alice, bob = (new_visitor(server.url, name) for name in ("alice", "bob"))
    tab, bobs_tab = alice.open_tab(server.url), bob.open_tab(server.url)

    assert tab.receive("register")["v"] == 1
    assert tab.receive("heartbeat")["unread"] == 0
    tab.send('{"type": "heartbeat"}')
    assert tab.receive("heartbeat")["unread"] == 0

    site.shell('notify_accounts(User.objects.get(username="alice"), "hello", "Hello, Alice")')
    assert tab.receive("hello")["content"]["body"] == "Hello, Alice"

    site.shell('broadcast("hello", "Hello, all")')
    for each in (tab, bobs_tab):
        assert each.receive("hello")["content"]["body"] == "Hello, all"

    alice.submit(f"{server.url}/", f"{server.url}/logout/")
    # 4402 if a recheck finds the session gone before the envelope about the logout arrives.
    code = tab.receive("bye")["code"]
    assert code in {4401, 4402}
    assert tab.closed_with() == code

    server.terminate()
    if request.node.callspec.params["site"] == "hypercorn" and WAITS_FOR_CLIENTS:
        bob.leave()
    else:
        assert bobs_tab.closed_with() in COME_BACK
    server.wait(TIMEOUT_SECONDS)
    wait_until(lambda: site.count("Connection") == 0)
    assert "Traceback" not in server.output().partition(HYPERCORNS_OWN)[0]


@pytest.mark.parametrize("site", UVICORNS, indirect=True)
def test_a_message_that_is_too_long_closes_its_socket_and_takes_no_memory(site, new_visitor):
    (server,) = site.servers
    alice = new_visitor(server.url, "alice")
    with closing(RawClient(server.port).open_tab(alice)) as client:
        client.receive_frames("heartbeat")
        memory = server.memory_mb()

        # In 10,000 fragments; uvicorn's own limit is 16 MiB.
        for part in range(10_000):
            client.send(frame(b"x" * 1000, opcode=0 if part else TEXT, fin=False))

        assert client.receive_frames()[1] in {1009, None}
        assert server.memory_mb() - memory < 5
    with closing(RawClient(server.port).open_tab(alice)) as client:
        client.receive_frames("heartbeat")

        client.send(frame(b"x" * 5000) + frame(HEARTBEAT))

        assert client.receive_frames("error")[0][-1]["code"] == "bad_frame"
        assert client.receive_frames("heartbeat")
    assert "Traceback" not in server.output()
