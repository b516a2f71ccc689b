"""SQLite as in the demo: WAL, IMMEDIATE, a timeout of 20 s, one writer at a time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.services import ROOT, site_environment

THREADS = 25

# Prints "ready", waits for a line to start, and prints how many rows each call created.
NOTIFY = f"""
import threading
from concurrent.futures import ThreadPoolExecutor
from django.contrib.auth.models import User
from django.db import connection
from notifications import notify_accounts

accounts = list(User.objects.filter(username__in=["alice", "bob"]))
together = threading.Barrier({THREADS})

def notify(number):
    try:
        together.wait(30)
        return notify_accounts(accounts, "hello", f"{{name}} {{number}}").created
    finally:
        connection.close()

print("ready", flush=True)
name = input()
with ThreadPoolExecutor({THREADS}) as pool:
    print(*pool.map(notify, range({THREADS})))
"""

NUMBERS = """
from notifications.models import Inbox, Notification
for name in ("alice", "bob"):
    account = User.objects.get(username=name)
    numbers = Notification.objects.filter(account=account).order_by("number")
    print(*numbers.values_list("number", flat=True))
    print(Inbox.objects.get(pk=account.pk).unread)
"""


@pytest.mark.verify
def test_fifty_concurrent_calls_from_two_processes_get_consecutive_numbers(start_site):
    site = start_site({}, servers=0)
    processes = [start_shell(site.env) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"

    for name, process in zip(("one", "two"), processes, strict=True):
        process.stdin.write(f"{name}\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60) for process in processes]

    assert [(out.split(), errors) for out, errors in outputs] == [(["2"] * THREADS, "")] * 2
    expected = " ".join(str(number) for number in range(1, 2 * THREADS + 1))
    assert site.shell(NUMBERS).splitlines() == [expected, "50", expected, "50"]


def start_shell(env):
    return subprocess.Popen(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", NOTIFY],
        cwd=ROOT,
        env=site_environment(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
