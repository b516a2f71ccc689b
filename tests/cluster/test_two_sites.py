"""Two sites on one Redis, with accounts of the same ids, at the same numbers."""

from __future__ import annotations

import json

import pytest

from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.conftest import FAST

SEND = """
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from notifications.channel_layer import hub_commands, sender
from notifications.protocol import CloseCode, account_group, account_message
alice = User.objects.get(username="alice").pk
notify_accounts(alice, "result", "{site}: your result")
broadcast("news", "{site}: news")
notify_accounts(alice, "progress", "{site}: progress", persist=False)
assert sender.answers()
frame = {{"type": "other", "content": {{"body": "{site}: other", "meta_data": ""}}}}
async_to_sync(get_channel_layer().group_send)(account_group(alice), account_message(frame))
"""
# The demo's databases are copies of one, with the same name until it is made anew.
RENAME = """
from notifications.models import BroadcastSequence
BroadcastSequence.objects.all().delete()
"""
CLOSE = """
hub_commands.close_connections({connections!r}, CloseCode.EVICTED)
hub_commands.recheck_accounts([alice])
assert sender.answers()
"""


@pytest.fixture
def start(start_site, tmp_path, redis):
    def start(name, **env):
        """Start a site whose tabs get live updates only, as its checks are an hour apart."""
        database = f"sqlite:///{tmp_path}/{name}.sqlite3"
        return start_site(
            {
                **FAST,
                "DATABASE_URL": database,
                "REDIS_URL": redis.url,
                "NOTIFICATIONS_HEARTBEAT_INTERVAL": "3600",
                **env,
            }
        )

    return start


def shown(tab):
    """Return the next frame with a text."""
    while not (body := json.loads(tab.connection.recv(timeout=TIMEOUT_SECONDS))["content"]["body"]):
        pass
    return body


@pytest.mark.parametrize(
    ("keys", "prefixes", "is_logged"),
    [
        (("of the shop", "of the clinic"), ("both", "both"), True),
        (("of both", "of both"), ("both", "both"), True),
        (("of the shop", "of the clinic"), ("shop", "clinic"), False),
    ],
    ids=["another key", "the same key", "another prefix"],
)
def test_two_sites_on_one_redis_neither_show_nor_hide_anything_of_each_other(
    start, new_visitor, keys, prefixes, is_logged
):
    shop, clinic = (
        start(name, DJANGO_SECRET_KEY=key, REDIS_PREFIX=prefix)
        for name, key, prefix in zip(("shop", "clinic"), keys, prefixes, strict=True)
    )
    (server,) = shop.servers
    tab = new_visitor(server.url, "alice").open_tab(server.url)
    register, counts = tab.receive("register"), tab.receive("heartbeat")
    assert (counts["seq"], counts["broadcast_seq"]) == (0, 0)

    connections = [register["connection"]]
    rename = RENAME if keys[0] == keys[1] else ""
    commands = CLOSE.format(connections=connections)
    clinic.shell(f"{rename}{SEND.format(site='CLINIC')}{commands}")
    shop.shell(SEND.format(site="SHOP"))

    got = {shown(tab) for _ in range(4)}
    assert got == {"SHOP: your result", "SHOP: news", "SHOP: progress", "SHOP: other"}
    tab.send('{"type":"heartbeat"}')
    counts = tab.receive("heartbeat")
    assert (counts["seq"], counts["broadcast_seq"]) == (1, 1)
    assert ("not signed by this site" in server.output()) == is_logged
    assert "CLINIC" not in server.output()
