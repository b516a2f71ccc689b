"""Accounts as callers pass them: objects, primary keys, iterables or querysets of either."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import NotSupportedError, router
from django.db.models import Model, QuerySet

from .db.bulk import one_of
from .db.keys import to_key

KEYS_PER_QUERY: Final = 10_000


def account_keys(accounts: Any) -> list[Any]:
    """
    Return the primary keys of these accounts, each once, ascending.

    Raises ValueError for anything that can't be an account.
    """
    user_model = get_user_model()
    if isinstance(accounts, QuerySet) and _returns_accounts(accounts, user_model):
        return sorted(set(accounts.values_list("pk", flat=True)))
    return sorted({_account_key(account, user_model) for account in _each(accounts)})


def require_known(keys: list[Any]) -> None:
    """Raise ValueError naming the keys that have no account."""
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


def _returns_accounts(accounts: QuerySet[Any], user_model: type[Model]) -> bool:
    """Whether it returns accounts, and not values of their columns."""
    if accounts.model is not user_model:
        return False
    try:
        accounts.only("pk")  # fails after values(), values_list() or union()
    except (TypeError, NotSupportedError):
        return False
    return True


def _each(accounts: Any) -> Iterable[Any]:
    if isinstance(accounts, str | bytes | Model):
        return [accounts]
    try:
        each: Iterable[Any] = iter(accounts)
    except TypeError:  # not isinstance: request.user is lazy, and looks iterable
        return [accounts]
    return each


def _account_key(account: Any, user_model: type[Model]) -> Any:
    key = account
    if isinstance(account, Model):
        key = account.pk if isinstance(account, user_model) else None
    try:
        # to_python would round 1.9 down to 1, the key of another account.
        if key is None or isinstance(key, bool | bytes | float | Decimal):
            raise ValidationError("not a key")
        key = to_key(key, user_model._meta.pk)
    except ValidationError:
        raise ValueError(
            f"accounts must be accounts or their primary keys, not {account!r:.100}"
        ) from None
    return key
