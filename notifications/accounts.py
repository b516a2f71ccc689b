"""Accounts as callers name them: objects, primary keys, iterables or querysets of either."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet

KEYS_PER_QUERY: Final = 10_000


def account_keys(accounts: Any) -> list[Any]:
    """
    Return the primary keys of what is named, each once, ascending.

    Raises ValueError for what can't be an account.
    """
    user_model = get_user_model()
    if isinstance(accounts, QuerySet) and accounts.model is user_model:
        return sorted(set(accounts.values_list("pk", flat=True)))
    if isinstance(accounts, str | Model) or not isinstance(accounts, Iterable):
        accounts = [accounts]
    return sorted({_account_key(account, user_model) for account in accounts})


def require_known(keys: list[Any]) -> None:
    """Raise ValueError that names the keys for which there is no account."""
    accounts = get_user_model()._base_manager
    unknown = set(keys)
    for start in range(0, len(keys), KEYS_PER_QUERY):
        chunk = keys[start : start + KEYS_PER_QUERY]
        unknown.difference_update(accounts.filter(pk__in=chunk).values_list("pk", flat=True))
    if unknown:
        named = ", ".join(repr(key) for key in sorted(unknown)[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise ValueError(f"accounts must exist; there is none with primary key {named}{more}")


def _account_key(account: Any, user_model: type[Model]) -> Any:
    key = account
    if isinstance(account, Model):
        key = account.pk if isinstance(account, user_model) else None
    try:
        if key is None or isinstance(key, bool):
            raise ValidationError("not a key")
        return user_model._meta.pk.to_python(key)
    except ValidationError:
        raise ValueError(
            f"accounts must be accounts or their primary keys, not {account!r:.100}"
        ) from None
