"""Frames on the way through the real servers: every size, order, slow readers, deflate, TLS."""

from __future__ import annotations

import json
import ssl
from contextlib import ExitStack

import pytest
from websockets.sync.client import connect

from harness.services import free_port, site_server
from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.certificates import make_certificate
from tests.cluster.conftest import FAST, each_way

SIZES = [34, 125, 126, 127, 65_535, 65_536, 65_537, 150_000]

PUSH_SIZES = """
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from notifications.protocol import account_message, encode
account = User.objects.get(username="alice").pk
async def push():
    for size in {sizes}:
        frame = {{"type": "size", "pad": ""}}
        frame["pad"] = "x" * (size - len(encode(frame)))
        await get_channel_layer().group_send(
            f"account_{{account}}", account_message(frame)
        )
async_to_sync(push)()
"""

NOTIFY_A_LOT = """
alice = User.objects.get(username="alice")
for number in range({count}):
    notify_accounts(alice, "lot", str(number), meta_data="x" * 16_000)
"""


@pytest.fixture
def start(start_site, shared_redis):
    def start(server, direct=True, **env):
        env["NOTIFICATIONS_DIRECT_WRITES"] = "1" if direct else "0"
        env["NOTIFICATIONS_MAX_UNSENT"] = str(2 * max(SIZES))  # a longer frame becomes a `resync`
        return start_site({"REDIS_URL": shared_redis.url, **FAST, **env}, server=server)

    return start


def frames_of(connection, type, count):
    frames = []
    while len(frames) < count:
        text = connection.recv(timeout=TIMEOUT_SECONDS)
        if json.loads(text)["type"] == type:
            frames.append(text)
    return frames


@each_way
def test_every_size_arrives_whole_and_in_order(start, new_visitor, server, direct):
    site = start(server, direct)
    url = site.servers[0].url
    visitor = new_visitor(url, "alice")
    tab = visitor.open_tab(url)
    tab.receive("heartbeat")

    site.shell(PUSH_SIZES.format(sizes=SIZES))

    frames = frames_of(tab.connection, "size", len(SIZES))
    assert [len(text) for text in frames] == SIZES
    assert "Private parts of" not in site.servers[0].output()
    assert "no direct way" not in site.servers[0].output()


@pytest.mark.verify(25)
@each_way
def test_a_slow_reader_gets_all_in_order_when_it_reads(start, new_visitor, server, direct):
    site = start(server, direct)
    url = site.servers[0].url
    visitor = new_visitor(url, "alice")
    with connect(**visitor.connect_arguments(url), max_queue=1) as connection:
        tab = visitor.open_tab(url)
        tab.receive("heartbeat")

        site.shell(NOTIFY_A_LOT.format(count=400))  # 6.4 MB: more than all buffers hold

        frames = frames_of(connection, "lot", 400)
        bodies = [json.loads(text)["content"]["body"] for text in frames]
        assert bodies == [str(number) for number in range(400)]
        assert json.loads(frames_of(tab.connection, "lot", 400)[-1])["seq"] == 400


def test_a_client_that_negotiated_deflate_reads_plain_frames(start, new_visitor):
    site = start("uvicorn, no options")
    url = site.servers[0].url
    visitor = new_visitor(url, "alice")
    with connect(**{**visitor.connect_arguments(url), "compression": "deflate"}) as connection:
        frames_of(connection, "heartbeat", 1)
        assert "permessage-deflate" in connection.response.headers["Sec-WebSocket-Extensions"]

        site.shell(PUSH_SIZES.format(sizes=[34, 150_000]))

        assert [len(text) for text in frames_of(connection, "size", 2)] == [34, 150_000]


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_frames_arrive_through_tls(start, new_visitor, server, tmp_path):
    site = start(server)
    plain = site.servers[0].url
    visitor = new_visitor(plain, "alice")
    key, certificate = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate)
    port = free_port()
    env = {
        **site.env,
        "DJANGO_SETTINGS_MODULE": "tests.cluster.tls_settings",
        "TLS_ORIGIN": f"https://127.0.0.1:{port}",
    }
    with ExitStack() as stack:
        tls = stack.enter_context(site_server(port, env, server, tls=(key, certificate)))
        options = visitor.connect_arguments(tls.url)
        connection = stack.enter_context(connect(**options, ssl=trusting))
        frames_of(connection, "heartbeat", 1)

        site.shell(PUSH_SIZES.format(sizes=SIZES))

        assert [len(text) for text in frames_of(connection, "size", len(SIZES))] == SIZES
