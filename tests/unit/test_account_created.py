"""When an account was created: it gets no broadcasts sent earlier, whatever kind of date it has."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from notifications.audiences import Recipient

from .small_site import run_site

PERSON = """
class Person(Account):
    on_day = models.DateField(null=True)
    at = models.DateTimeField(null=True)
    text = models.CharField(max_length=30, default="2020-01-01")
    seconds = models.IntegerField(default=1700000000)

    @property
    def of_python(self): return self.date_joined
"""
# At 09:00 in Tokyo it is midnight in UTC: a day begins at 00:00 in TIME_ZONE.
SETTINGS = """
USE_TZ = True
TIME_ZONE = "Asia/Tokyo"
"""
PROGRAM = """
import django
django.setup()
import json
from datetime import UTC, date, datetime, timedelta
from django.core import checks
from django.core.management import call_command
from django.test import Client, override_settings
from notifications.admin.audience_size import of_broadcasts
from notifications.audiences import Recipient
from notifications.inbox.pages import read_latest_of_many, read_page
from notifications.models import Broadcast, BroadcastSequence
from people.models import *

call_command("makemigrations", "people", verbosity=0)
call_command("migrate", verbosity=0)
NOON = datetime(2026, 5, 10, 3, tzinfo=UTC)  # in Tokyo
sent = [
    Broadcast.objects.create(
        type="news", body=str(n), number=n, seq=n, created_at=NOON + timedelta(hours=12 * (n - 3))
    )
    for n in range(1, 6)
]
BroadcastSequence.objects.update(seq=5)

def ids(**times):
    # The broadcasts that an account gets: live, on a page, counted, and in the admin.
    Person.objects.all().delete()
    Person.objects.create_user("bob", **times)
    Person.objects.create_user("eve", **times)
    bob, eve = Person.objects.all()
    recipients = Recipient.of_many([bob, eve])
    me = recipients[0]
    live = [row.pk for row in sent if me.receives("everyone", row.created_at)]
    page = sorted(int(frame["id"][1:]) for frame in read_page(me).items)
    assert live == page, (live, page)
    counts = [latest.counts.unread_broadcasts for latest in read_latest_of_many(recipients)]
    assert counts == [len(live)] * 2, (live, counts)
    sizes = of_broadcasts(sent)
    assert [pk for pk, size in sizes.items() if size.accounts == 2] == live, (live, sizes)
    operator = Client()
    operator.force_login(bob)
    for path in ("/notifications/", "/admin/site_notifications/broadcast/"):
        assert operator.get(path).status_code == 200
    return live

def complaints():
    return [f"{each.id} {each.msg}" for each in checks.run_checks() if "notifications." in each.id]
"""


def test_each_kind_of_field_counts_the_same_everywhere(tmp_path: Path) -> None:
    lines = run_site(
        tmp_path,
        PERSON,
        PROGRAM
        + """
for field, value in [
    ("date_joined", NOON), ("at", NOON), ("at", None),
    ("on_day", date(2026, 5, 10)), ("on_day", date(2026, 5, 11)), ("on_day", None),
    ("text", "2026-05-10"), ("seconds", 1700000000), ("of_python", None), ("nothing", None),
]:
    with override_settings(NOTIFICATIONS_ACCOUNT_CREATED_FIELD=field):
        times = {field: value} if field in {"date_joined", "at", "on_day"} else {}
        print(json.dumps([field, value and str(value)[:10], ids(**times), complaints()]))
""",
        SETTINGS,
    )

    found = [json.loads(line) for line in lines]
    everything = [1, 2, 3, 4, 5]
    assert [row[2] for row in found] == [
        [3, 4, 5],
        [3, 4, 5],
        everything,
        [2, 3, 4, 5],  # the second was sent at midnight, when the day began
        [4, 5],
        everything,
        everything,
        everything,
        everything,
        everything,
    ]
    assert [len(row[3]) for row in found] == [0] * 6 + [1] * 4
    for name, _, _, (complaint,) in found[6:]:
        assert complaint == (
            "notifications.E009 NOTIFICATIONS_ACCOUNT_CREATED_FIELD must be the name of a "
            f"DateTimeField or DateField of the accounts, not '{name}'."
        )


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("date_joined = None", "no field “date_joined”"),
        (
            "date_joined = models.CharField(max_length=9, default='now')",
            "a CharField “date_joined”",
        ),
        (
            "date_joined = property(lambda self: self.last_login)",
            "no field “date_joined”",
        ),
    ],
    ids=["missing", "text", "property"],
)
def test_without_a_date_the_site_is_warned_and_accounts_get_what_is_older(
    tmp_path: Path, field: str, kind: str
) -> None:
    program = PROGRAM + "print(json.dumps([ids(), complaints()]))"

    (line,) = run_site(tmp_path, f"class Person(Account):\n    {field}", program)

    received, (complaint,) = json.loads(line)
    assert received == [1, 2, 3, 4, 5]
    assert complaint == (
        f"notifications.W053 people.Person has {kind}, which NOTIFICATIONS_ACCOUNT_CREATED_FIELD "
        "takes as the creation date of accounts unless it is set. It must be a DateTimeField or a "
        "DateField. Without one, new accounts also get the broadcasts that were sent before they "
        "were created."
    )


def test_the_values_of_unsaved_changes_do_not_matter(alice: Any) -> None:
    for value, is_known in [
        (date(2026, 5, 10), True),
        (datetime(2026, 5, 10), True),
        ("2026-05-10", False),
        (17.5, False),
        (None, False),
    ]:
        alice.date_joined = value
        assert (Recipient.of(alice).since is not None) == is_known
        assert Recipient.of(alice).receives("everyone", datetime.now().astimezone())
