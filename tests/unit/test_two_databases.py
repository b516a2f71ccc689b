"""A site whose router keeps notifications in another database than its accounts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from .small_site import run_site

SETTINGS: Final = """
DATABASES["notes"] = {**DATABASES["default"], "NAME": "notes.sqlite3"}

class Router:
    def db_for_read(self, model, **hints):
        return "notes" if model._meta.app_label == "site_notifications" else "default"

    db_for_write = db_for_read

    def allow_relation(self, *rows, **hints):
        return True

    def allow_migrate(self, using, app, **hints):
        return (app == "site_notifications") == (using == "notes")

DATABASE_ROUTERS = [Router()]
"""
PROGRAM: Final = """
import django
django.setup()
import json
from django.contrib.auth.models import Group
from django.core import checks
from django.core.management import call_command
from django.db import connections, transaction
from django.test import Client
from notifications import broadcast, notify_accounts, online, retract
from notifications.admin.audience_size import of_audience, of_broadcasts
from notifications.audiences import Recipient
from notifications.inbox import marks
from notifications.inbox.pages import read_latest_of_many, read_page
from notifications.maintenance import Maintenance
from notifications.models import Broadcast, Connection, Notification, Worker
from notifications.presence import record, renew_lease
from people.models import *

call_command("makemigrations", "people", verbosity=0)
for using in ("default", "notes"):
    call_command("migrate", database=using, verbosity=0)
bob, eve = (Person.objects.create_user(name) for name in ("bob", "eve"))
board = Group.objects.create(name="board")
board.user_set.add(bob)

def show(name, value): print(json.dumps([name, value]))

show("checks", [f"{each.id} {each.msg} {each.hint}" for each in checks.run_checks()
    if "notifications." in each.id])
notify_accounts(Person.objects.all(), "news", "For both")
try:
    with transaction.atomic():
        notify_accounts(bob, "news", "Not in that transaction")
        raise KeyError
except KeyError:
    pass
with transaction.atomic(using="notes"):
    notify_accounts(bob, "news", "In this transaction")
    transaction.set_rollback(True, using="notes")
sent = broadcast("news", "For the board", audience=board, sent_by=bob)
worker = Worker(host="web-1", pid=4711)
renew_lease(worker, [])
renewed = Connection(worker=worker, account_id=bob.pk, user_agent="Mine")
record([renewed], [], [])
show("online", sorted(online([bob, eve])))
mine, hers = Recipient.of_many([bob, eve])
show("mine", [frame["content"]["body"] for frame in read_page(mine).items])
show("hers", [frame["content"]["body"] for frame in read_page(hers).items])
show("counts", [each.counts.total for each in read_latest_of_many([mine, hers])])
show("marked", len(marks.mark(mine, "read", [sent.wire_id]).ids))
sizes = [of_audience("everyone"), of_audience("staff"), of_audience(f"group:{board.pk}")]
show("sizes", [[size.accounts, size.online] for size in sizes])
size = of_broadcasts([sent])[sent.pk]
show("size", [size.accounts, size.online, size.read])
operator = Client()
operator.force_login(bob)
site = "/admin/site_notifications"
for path in (
    "/notifications/", "/notifications/items/", f"{site}/broadcast/", f"{site}/broadcast/?q=board",
    f"{site}/broadcast/add/", f"{site}/broadcast/{sent.pk}/change/", f"{site}/notification/",
    f"{site}/notification/?q=bob", f"{site}/notification/?q=both+bob",
    f"{site}/connection/", f"{site}/connection/?q=bob", f"{site}/connection/?q=eve",
    f"{site}/connection/{renewed.pk}/change/", f"{site}/worker/",
):
    answer = operator.get(path)
    text = answer.content.decode()
    show(path, [answer.status_code, text.count("field-account_name"), "bob" in text])
compose = {"audience": "everyone", "type": "news", "level": "info", "url": "", "body": "Composed"}
shown = operator.post(f"{site}/broadcast/add/", {**compose, "expires_at_0": "", "expires_at_1": "",
    "_send": "1"})
show("composed", [shown.status_code, Broadcast.objects.filter(body="Composed").count()])
action = {"action": "retract", "_selected_action": [str(sent.pk)]}
show("asked", operator.post(f"{site}/broadcast/", action).status_code)
show("retracted", [operator.post(f"{site}/broadcast/", {**action, "newest": sent.pk}).status_code,
    Broadcast.objects.removed().count()])
show("retract", retract(Notification.objects.filter(account=bob.pk)))
key = eve.pk
eve.delete()
show("swept", [Maintenance().run(full=True).accounts_swept,
    Notification.objects.filter(account_id=key).count()])
"""


def test_everything_works_without_a_query_across_both(tmp_path: Path) -> None:
    lines = run_site(
        tmp_path, "class Person(Account, PermissionsMixin): pass", PROGRAM, settings=SETTINGS
    )

    shown = dict(json.loads(line) for line in lines)
    (check,) = shown.pop("checks")
    assert check.startswith(
        "notifications.W054 Notifications are in the database “notes”, accounts in “default”, "
        "and no transaction spans both"
    )
    assert "transaction.on_commit(" in check
    pages = {name: value for name, value in shown.items() if name.startswith("/")}
    assert {status for status, _, _ in pages.values()} == {200}
    listed = {path: count for path, (_, count, _) in pages.items() if "?q=" in path}
    admin = "/admin/site_notifications"
    assert listed[f"{admin}/notification/?q=bob"] == 2
    assert listed[f"{admin}/notification/?q=both+bob"] == 1
    assert listed[f"{admin}/connection/?q=bob"] == 1
    assert listed[f"{admin}/connection/?q=eve"] == 0
    assert pages[f"{admin}/broadcast/"][2]
    assert {name: value for name, value in shown.items() if name not in pages} == {
        "online": [1],
        "mine": ["For the board", "Not in that transaction", "For both"],
        "hers": ["For both"],
        "counts": [3, 1],
        "marked": 1,
        "sizes": [[2, 1], [2, 1], [1, 1]],
        "size": [1, 1, 1],
        "composed": [302, 1],
        "asked": 200,
        "retracted": [302, 1],
        "retract": 2,
        "swept": [1, 0],
    }
