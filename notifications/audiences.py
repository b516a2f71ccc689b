"""Audiences: the accounts that a broadcast is for, and the broadcasts that an account gets."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import router
from django.db.models import DateTimeField, Q, QuerySet

from .conf import conf, date_field_of_accounts
from .db import times

EVERYONE = "everyone"
STAFF = "staff"
_GROUP_PREFIX = "group:"


@dataclass(frozen=True, slots=True)
class Recipient:
    """An account as a recipient of messages."""

    account_id: Any
    audiences: frozenset[str]
    # When the account was created: it gets no broadcasts sent earlier. None: nobody knows.
    since: datetime | None

    @classmethod
    def of(cls, account: Any) -> Recipient:
        """Return the recipient for a user object; queries its groups."""
        return cls.of_many([account])[0]

    @classmethod
    def of_many(cls, accounts: Sequence[Any]) -> list[Recipient]:
        """Return the recipients for user objects, with one query for all their groups."""
        groups = _groups_of(accounts)
        recipients = []
        for account in accounts:
            audiences = {EVERYONE, *groups[account.pk]}
            if getattr(account, "is_staff", False):
                audiences.add(STAFF)
            recipients.append(cls(account.pk, frozenset(audiences), created_at(account)))
        return recipients

    def receives(self, audience: str, created_at: datetime) -> bool:
        """Whether this account gets a broadcast to this audience, created at this time."""
        return audience in self.audiences and (self.since is None or self.since <= created_at)

    @property
    def audience_hash(self) -> str:
        """
        A hash of the audiences, `scope` on the wire. When it changes, so does the account's
        list of broadcasts.
        """
        return hashlib.sha256(",".join(sorted(self.audiences)).encode()).hexdigest()[:12]


def created_at(account: Any) -> datetime | None:
    """
    Return when an account was created, None if it has no field for that, or no value there.

    A day counts from its beginning in TIME_ZONE.
    """
    if (field := created_field()) is None:
        return None
    value = getattr(account, field.attname)
    if isinstance(value, datetime):
        return times.aware(value)
    # An account that was not read from the database may have anything there.
    return times.beginning(value) if isinstance(value, date) else None


def created_by(time: datetime) -> Q:
    """Return the condition on accounts that `created_at` is not after this time, or None."""
    if (field := created_field()) is None:
        return Q()
    is_time = isinstance(field, DateTimeField)
    latest = times.for_other_fields(time) if is_time else times.day_of(time)
    return Q(**{f"{field.name}__lte": latest}) | Q(**{field.name: None})


def created_field() -> Any:
    """Return the field with the creation date of accounts, None if the user model has none."""
    return date_field_of_accounts(conf.ACCOUNT_CREATED_FIELD)


def groups_field() -> Any:
    """
    Return the many-to-many from accounts to Django's groups, None if the user model has none.

    A site's `groups` may be anything: teams of its own, whose keys are those of other groups,
    or a property.
    """
    for field in get_user_model()._meta.many_to_many:
        if field.name == "groups" and issubclass(field.related_model, Group):
            return field
    return None


def _groups_of(accounts: Sequence[Any]) -> defaultdict[Any, list[str]]:
    """Return the audience keys of each account's groups, by the account's primary key."""
    groups: defaultdict[Any, list[str]] = defaultdict(list)
    if accounts and (field := groups_field()):
        mine, theirs = f"{field.m2m_field_name()}__pk", f"{field.m2m_reverse_field_name()}__pk"
        # Not prefetch_related, as only the keys are needed.
        through = field.remote_field.through
        # A replica may not have the newest ones yet.
        memberships = through._default_manager.using(router.db_for_write(through)).filter(
            **{f"{mine}__in": [account.pk for account in accounts]}
        )
        for account_id, group_pk in memberships.values_list(mine, theirs):
            groups[account_id].append(f"{_GROUP_PREFIX}{group_pk}")
    return groups


def audience_key(audience: str | Group) -> str:
    """
    Return the value of `Broadcast.audience` for an audience.

    Raises ValueError unless it is "everyone", "staff" or a saved Group that accounts can be in.
    """
    has_groups = groups_field() is not None
    if has_groups and isinstance(audience, Group) and audience.pk is not None:
        return f"{_GROUP_PREFIX}{audience.pk}"
    if isinstance(audience, str) and audience in {EVERYONE, STAFF}:
        return audience
    allowed = (
        '"everyone", "staff" or a saved Group,'
        if has_groups
        else '"everyone" or "staff", as accounts have no groups;'
    )
    raise ValueError(f"audience must be {allowed} not {audience!r:.100}")


def group_id(key: str) -> int | None:
    """Return the primary key of an audience key's Group, None if it is not a Group's."""
    return int(key.removeprefix(_GROUP_PREFIX)) if key.startswith(_GROUP_PREFIX) else None


def accounts_in(key: str) -> QuerySet[Any]:
    """Return the active accounts of an audience key."""
    user_model = get_user_model()
    fields = {field.name for field in user_model._meta.get_fields()}
    conditions: dict[str, Any] = {"is_active": True} if "is_active" in fields else {}
    if key == STAFF:
        conditions["is_staff"] = True
    elif (group := group_id(key)) is not None:
        if groups_field() is None:
            return user_model._default_manager.none()
        conditions["groups__pk"] = group
    if not conditions.keys() - {"groups__pk"} <= fields:  # the user model has no staff
        return user_model._default_manager.none()
    return user_model._default_manager.filter(**conditions)
