"""Accounts as callers name them: objects, primary keys, iterables or querysets of either."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable

from .db.bulk import one_of

KEYS_PER_QUERY: Final = 10_000
MAX_KEY: Final = 2**63 - 1


def account_keys(accounts: Any) -> list[Any]:
    """
    Return the primary keys of what is named, each once, ascending.

    Raises ValueError for what can't be an account.
    """
    user_model = get_user_model()
    if isinstance(accounts, QuerySet) and _are_objects(accounts, user_model):
        return sorted(set(accounts.values_list("pk", flat=True)))
    return sorted({_account_key(account, user_model) for account in _each(accounts)})


def require_known(keys: list[Any]) -> None:
    """Raise ValueError that names the keys for which there is no account."""
    user_model = get_user_model()
    # Not from a replica, which may not have the newest accounts yet.
    accounts = user_model._base_manager.using(router.db_for_write(user_model))
    unknown = set(keys)
    for start in range(0, len(keys), KEYS_PER_QUERY):
        chunk = keys[start : start + KEYS_PER_QUERY]
        wanted = one_of(chunk, user_model._meta.pk, accounts.db)
        unknown.difference_update(accounts.filter(pk__in=wanted).values_list("pk", flat=True))
    if unknown:
        named = ", ".join(repr(key) for key in sorted(unknown)[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise ValueError(f"accounts must exist; there is none with primary key {named}{more}")


def _are_objects(accounts: QuerySet[Any], user_model: type[Model]) -> bool:
    """Whether it holds accounts, and not the values of one of their columns."""
    return accounts.model is user_model and accounts._iterable_class is ModelIterable


def _each(accounts: Any) -> Iterable[Any]:
    if isinstance(accounts, str | bytes | Model):
        return [accounts]
    try:
        each: Iterable[Any] = iter(accounts)
    except TypeError:  # isinstance can't tell: request.user seems iterable, being lazy
        return [accounts]
    return each


def _account_key(account: Any, user_model: type[Model]) -> Any:
    key = account
    if isinstance(account, Model):
        key = account.pk if isinstance(account, user_model) else None
    try:
        # Numbers that are no keys, to_python would round down to another's key.
        if key is None or isinstance(key, bool | bytes | float | Decimal):
            raise ValidationError("not a key")
        key = user_model._meta.pk.to_python(key)
        if isinstance(key, int) and not -MAX_KEY <= key <= MAX_KEY:
            raise ValidationError("no database can look for it")
    except ValidationError:
        raise ValueError(
            f"accounts must be accounts or their primary keys, not {account!r:.100}"
        ) from None
    return key
