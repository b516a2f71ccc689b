"""The process that deletes an account dies at once: the next account with its key begins anew."""

from __future__ import annotations

import json

import pytest

from harness.services import running_command
from tests.cluster.conftest import wait_until

IMPORTS = "from notifications import *; from django.contrib.auth.models import User\n"
NOTIFY = 'notify_accounts(User.objects.get(username="alice"), "hello", {body!r}, {options})'
# It commits after the account was deleted and created again.
NOTIFY_LATE = f"""
import time
from django.db import transaction

with transaction.atomic():
    {NOTIFY.format(body="Late", options='idempotency_key="late"')}
    print("inserted", flush=True)
    while not User.objects.filter(username="alice", first_name="Second").exists():
        time.sleep(0.05)
print("committed", flush=True)
"""
# No hook after the commit runs.
DELETE_AND_DIE = """
import os, signal
from django.db import transaction

with transaction.atomic():
    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
    alice = User.objects.get(username="alice")
    print(alice.pk, flush=True)
    alice.delete()
"""
CREATE = """
alice = User.objects.create_user("alice", password="demo", pk={key}, first_name="Second")
for key in ("early", "late"):
    assert notify_accounts(alice, "hello", f"New {{key}}", idempotency_key=key).created
"""


@pytest.mark.verify(20)
def test_a_new_account_finds_nothing_of_one_whose_deletion_was_killed(cluster, new_visitor):
    url = cluster.servers[0].url
    first = new_visitor(url, "alice")
    tab = first.open_tab(url)
    tab.receive("heartbeat")
    key = cluster.shell('print(User.objects.get(username="alice").pk)')
    cluster.shell(NOTIFY.format(body="Early", options='idempotency_key="early"'))
    tab.receive("hello")

    with running_command("shell", "-v", "0", "-c", IMPORTS + NOTIFY_LATE, env=cluster.env) as late:
        with pytest.raises(RuntimeError):
            cluster.shell(DELETE_AND_DIE)
        assert tab.closed_with() in {4401, 4402}
        cluster.shell(CREATE.format(key=key))
        wait_until(lambda: "committed" in late.output())

    second = new_visitor(url, "alice")
    items = second.get_json(f"{url}/notifications/items/")
    assert [item["content"]["body"] for item in items["items"]] == ["New late", "New early"]
    assert items["unread"] == 2
    other_tab = second.open_tab(cluster.servers[1].url)
    assert other_tab.receive("heartbeat")["unread"] == 2
    cluster.shell(NOTIFY.format(body="Newest", options=""))
    frame = other_tab.receive("hello")
    assert (frame["content"]["body"], frame["unread"]) == ("Newest", 3)

    cluster.manage("notification_maintenance", "--once")

    assert cluster.count("Notification") == 3
    assert json.dumps(second.get_json(f"{url}/notifications/items/")).count("Late") == 0
