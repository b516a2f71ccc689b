"""Audiences: the accounts that a broadcast is for, and the broadcasts that an account gets."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Q, QuerySet

from .conf import conf

EVERYONE = "everyone"
STAFF = "staff"
_GROUP_PREFIX = "group:"


@dataclass(frozen=True, slots=True)
class Recipient:
    """An account as a recipient of messages."""

    account_id: Any
    audiences: frozenset[str]
    since: datetime | None  # the account gets no broadcasts created earlier

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
            since = getattr(account, conf.ACCOUNT_CREATED_FIELD, None)
            recipients.append(cls(account.pk, frozenset(audiences), since))
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
        memberships = field.remote_field.through._default_manager.filter(
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


def existed_at(time: datetime) -> Q:
    """Return the condition that an account existed at this time: later ones get no broadcast."""
    try:
        get_user_model()._meta.get_field(conf.ACCOUNT_CREATED_FIELD)
    except FieldDoesNotExist:
        return Q()
    return Q(**{f"{conf.ACCOUNT_CREATED_FIELD}__lte": time})
