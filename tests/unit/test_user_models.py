"""Sites with user models of their own, whose `groups` may be something else than Django's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .small_site import run_site

NO_GROUPS = "class Person(Account): pass"
TEAMS = """
class Team(models.Model):
    name = models.CharField(max_length=50)

class Person(Account):
    groups = models.ManyToManyField(Team)
"""
ONE_GROUP = """
class Person(Account):
    groups = models.ForeignKey(Group, models.SET_NULL, null=True)
"""
PROPERTY = """
class Person(Account):
    @property
    def groups(self): return ["board"]
"""
FAVOURITES = """
class Person(Account):
    favourites = models.ManyToManyField(Group)
"""
BY_NAME = """
class Membership(models.Model):
    person = models.ForeignKey("Person", models.CASCADE, to_field="username")
    group = models.ForeignKey(Group, models.CASCADE, to_field="name")

class Person(Account):
    groups = models.ManyToManyField(Group, through=Membership)
"""
DJANGOS = "class Person(Account, PermissionsMixin): pass"

BEGIN = """
import django
django.setup()
from django.contrib.auth.models import Group
from django.core import checks
from django.core.management import call_command
from django.test import Client
from notifications import broadcast, notify_accounts
from notifications.audiences import Recipient, accounts_in
from notifications.forms import audience_choices
from notifications.inbox.pages import read_page
from notifications.models import Broadcast
from people.models import *

call_command("makemigrations", "people", verbosity=0)
call_command("migrate", verbosity=0)
bob, eve = (Person.objects.create_user(name) for name in ("bob", "eve"))
board = Group.objects.create(name="board")

def bodies(person):
    return sorted(frame["content"]["body"] for frame in read_page(Recipient.of(person)).items)

def warnings():
    return [each.id for each in checks.run_checks() if each.id.startswith("notifications.")]

def pages():
    operator = Client()
    operator.force_login(bob)
    site = "/admin/site_notifications"
    return {operator.get(path).status_code for path in (
        f"{site}/broadcast/", f"{site}/broadcast/add/", f"{site}/notification/", "/notifications/",
    )}
"""
# A row for the group may be in the database from before, or written by other code.
FOR_NOBODY = """
Broadcast.objects.create(type="news", body="For the board", audience=f"group:{board.pk}")
broadcast("news", "For all")
notify_accounts(bob, "news", "For bob")
try:
    broadcast("news", "For the board", audience=board)
except ValueError as error:
    print(error)
print(bodies(bob), bodies(eve), accounts_in(f"group:{board.pk}").count())
print([str(key) for key, _ in audience_choices()], warnings(), pages())
board.delete()
bob.delete()
"""

Run = Callable[[str, str], list[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program on a site with these models; return the lines that it printed."""
    return lambda models, program: run_site(tmp_path, models, BEGIN + program)


@pytest.mark.parametrize(
    ("models", "warnings"),
    [
        (NO_GROUPS, []),
        (FAVOURITES, []),
        (TEAMS, ["notifications.W049"]),
        (ONE_GROUP, ["notifications.W049"]),
        (PROPERTY, ["notifications.W049"]),
    ],
    ids=["none", "other name", "teams", "foreign key", "property"],
)
def test_without_djangos_groups_nobody_receives_what_is_for_a_group(
    run: Run, models: str, warnings: list[str]
) -> None:
    member = {
        TEAMS: 'eve.groups.add(Team.objects.create(pk=board.pk, name="chess"))',
        ONE_GROUP: "eve.groups = board; eve.save()",
        FAVOURITES: "eve.favourites.add(board)",
    }.get(models, "")

    refusal, inboxes, rest = run(models, f"{member}\n{FOR_NOBODY}")

    assert refusal == (
        'audience must be "everyone" or "staff", as accounts have no groups; not <Group: board>'
    )
    assert inboxes == "['For all', 'For bob'] ['For all'] 0"
    assert rest == f"['everyone', 'staff'] {warnings} {{200}}"


@pytest.mark.parametrize("models", [DJANGOS, BY_NAME], ids=["django's", "by other keys"])
def test_members_of_a_group_receive_what_is_for_it(run: Run, models: str) -> None:
    inboxes, rest = run(
        models,
        """
eve.groups.add(board)
broadcast("news", "For the board", audience=board)
print(bodies(bob), bodies(eve), accounts_in(f"group:{board.pk}").get())
print(warnings(), pages())
eve.groups.remove(board)
board.delete()
""",
    )

    assert inboxes == "[] ['For the board'] eve"
    assert rest == "[] {200}"
