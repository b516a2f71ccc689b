"""The accounts that sessions belong to, found by their authentication backends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError
from django.utils.crypto import constant_time_compare

from .adapter import ADAPTER, overridden
from .readers import SessionData

# ModelBackend finds the account of a primary key with these.
_FINDING_METHODS: Final = frozenset({"get_user", "user_can_authenticate"})


def find_accounts(sessions: Mapping[str, SessionData]) -> dict[str, Any]:
    """
    Return the account of each session that has one, by the session's key.

    The accounts are those that django.contrib.auth.get_user finds, and also inactive ones. With
    ModelBackend this takes a single query for all of them.
    """
    known = _find_by_model_backend(sessions.values())
    found = {key: _find_account(data, known) for key, data in sessions.items()}
    return {key: account for key, account in found.items() if account is not None}


def is_active(account: Any) -> bool:
    return bool(getattr(account, "is_active", True))  # not every user model has the field


def is_current(session: SessionData, account: Any) -> bool:
    """Whether the session was opened with the account's current password."""
    if not hasattr(account, "get_session_auth_hash"):
        return True
    known = session.get(HASH_SESSION_KEY) or ""
    hashes = [account.get_session_auth_hash(), *account.get_session_auth_fallback_hash()]
    return any(constant_time_compare(known, valid) for valid in hashes)


def _find_by_model_backend(sessions: Iterable[SessionData]) -> dict[Any, Any]:
    """Return the accounts whose backend finds them as ModelBackend does, by primary key."""
    if not ADAPTER.is_on:
        return {}
    sessions = list(sessions)
    backends = {session.get(BACKEND_SESSION_KEY, "") for session in sessions}
    plain = {
        path
        for path in backends
        if _is_in_use(path) and _finds_as_model_backend(type(load_backend(path)))
    }
    keys = {_account_key(s) for s in sessions if s.get(BACKEND_SESSION_KEY) in plain}
    found = get_user_model()._default_manager.filter(pk__in=keys - {None})
    return {account.pk: account for account in found}


def _finds_as_model_backend(backend: type) -> bool:
    return issubclass(backend, ModelBackend) and _FINDING_METHODS.isdisjoint(
        overridden(backend, ModelBackend)
    )


def _find_account(session: SessionData, known: Mapping[Any, Any]) -> Any:
    key = _account_key(session)
    if key is None:
        return None
    account = known.get(key) or load_backend(session[BACKEND_SESSION_KEY]).get_user(key)
    if account is None:
        # Backends hide inactive accounts; their connections are closed with a code of their own.
        hidden = get_user_model()._base_manager.filter(pk=key).first()
        return None if is_active(hidden) else hidden
    return account


def _account_key(session: SessionData) -> Any:
    """Return the account's key in a session, None without one or if its backend is not in use."""
    if not _is_in_use(session.get(BACKEND_SESSION_KEY)):
        return None
    try:
        return get_user_model()._meta.pk.to_python(session.get(SESSION_KEY))
    except ValidationError:
        return None


def _is_in_use(path: str | None) -> bool:
    """Whether the site has this backend: a session can name one that has been removed."""
    return path in settings.AUTHENTICATION_BACKENDS
