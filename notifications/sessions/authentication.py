"""
Who opens a socket, and whether its session still lets it in: read, and never written.

Channels' own middleware is not used: it ignores SECRET_KEY_FALLBACKS and
flushes the session of a visitor whose key was rotated.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends.cache import SessionStore as CacheSessionStore
from django.contrib.sessions.backends.cached_db import SessionStore as CachedDatabaseSessionStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.core.exceptions import ValidationError
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, router
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.debug import sensitive_variables

from notifications.audiences import Recipient
from notifications.protocol import CloseCode

# As browsers write it: a wildcard among the trusted ones would also take a user or a path.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\\\s]+")
_CACHED_KEY = re.compile(r"[a-z0-9]{8,40}", re.ASCII)  # as Django makes them


class SessionsUnavailable(DatabaseError):
    """The sessions are in a cache that is away: nobody can be let in, or has to go, for that."""


@dataclass(slots=True)
class Session:
    """A visitor's session: its key, the cookie, which stays in this process, and its names."""

    key: str = field(repr=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.names = session_names(self.key)

    @property
    def name(self) -> str:
        return self.names[0]

    @classmethod
    def of(cls, request: HttpRequest) -> Session:
        """Return the session that a request names, whether there is one or not."""
        return cls(request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""))


def session_names(key: str) -> tuple[str, ...]:
    """
    Return what may be told of a session to other processes: nobody can take it over by it.

    One name by SECRET_KEY and, while that is being rotated, one by each of the
    fallbacks: of two servers, one may not have the other's newest yet.
    """
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return tuple(
        salted_hmac("notifications.session", key, secret, algorithm="sha256").hexdigest()[:32]
        for secret in secrets
    )


@dataclass(frozen=True, slots=True)
class Admission:
    """Who asks for a socket: an account's reader, or None and the code to refuse it with."""

    recipient: Recipient | None
    refusal: CloseCode = CloseCode.NOT_LOGGED_IN


def handshake_request(scope: Any) -> ASGIRequest:
    """Return the handshake as the request it is, for Django's own checks of host and cookies."""
    scheme = {"ws": "http", "wss": "https"}[scope.get("scheme", "ws")]
    return ASGIRequest({**scope, "type": "http", "method": "GET", "scheme": scheme}, io.BytesIO())


def client_address(request: HttpRequest) -> str | None:
    """
    Return the visitor's IP address, None if that is not what the server says.

    Behind a proxy it comes from a header, of which a client writes the first part.
    """
    try:
        address = ip_address(request.META.get("REMOTE_ADDR") or "")
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else str(address)


def user_agent(request: HttpRequest) -> str:
    """Return what the browser calls itself: 200 characters at most, and no control characters."""
    told = request.headers.get("User-Agent", "")[:200]
    return "".join(character for character in told if character.isprintable())


def is_own_origin(request: HttpRequest) -> bool:
    """
    Whether the handshake comes from a page of this site: exact scheme, host and port.

    The same rule as for unsafe requests: the Host, validated, or an entry of
    CSRF_TRUSTED_ORIGINS. Browsers always send an Origin; without one, no.
    """
    check: Any = CsrfViewMiddleware(_no_view)
    is_origin = _ORIGIN.fullmatch(request.META.get("HTTP_ORIGIN", ""))
    return bool(is_origin and check._origin_verified(request))


@sensitive_variables()
def authenticate(sessions: Sequence[Session]) -> list[Admission]:
    """
    Return whom each session belongs to; reads the database, changes nothing.

    However many sessions, it takes one query each for them, for accounts and
    for groups, with Django's own database sessions and ModelBackend. Raises
    DatabaseError when they can't be read now.
    """
    return _admissions(sessions, CloseCode.NOT_LOGGED_IN)


@sensitive_variables()
def recheck(sessions: Sequence[Session]) -> list[Admission]:
    """
    Return the same of the sessions that open sockets came with.

    One that has gone, or is of before a change of the password, may go on in
    its browser under another key: its visitor is told SESSION_CHANGED.
    """
    return _admissions(sessions, CloseCode.SESSION_CHANGED)


def _admissions(sessions: Sequence[Session], gone: CloseCode) -> list[Admission]:
    stored = _read_sessions({session.key for session in sessions})
    known = _model_backend_accounts(stored.values())
    accounts = {key: _account(content, known) for key, content in stored.items()}
    active = [account for account in accounts.values() if account and _is_active(account)]
    recipients = {recipient.account_id: recipient for recipient in Recipient.of_many(active)}

    def admission(key: str) -> Admission:
        account = accounts.get(key)
        if key in stored and account is None:
            return Admission(None)
        if account is None or not _is_current(stored[key], account):
            return Admission(None, gone)
        return Admission(recipients.get(account.pk), CloseCode.DEACTIVATED)

    return [admission(session.key) for session in sessions]


def _no_view(request: HttpRequest) -> HttpResponse:
    raise AssertionError("only the middleware's origin check is used")


def _read_sessions(keys: set[str]) -> dict[str, dict[str, Any]]:
    """Return what the sessions that are stored say, by their keys."""
    # A quoted cookie can hold a NUL, which PostgreSQL does not even look for.
    usable = {key for key in keys if key and "\x00" not in key}
    engine = import_module(settings.SESSION_ENGINE).SessionStore
    if _has_rows(engine):
        return _read_rows(engine, usable)
    if _is_unchanged(engine, CacheSessionStore, ("load", "cache_key")):
        return _read_cache(engine, usable)
    sessions = {key: _load_session(engine, key) for key in usable}
    return {key: session for key, session in sessions.items() if session}


def _has_rows(engine: Any) -> bool:
    # Those of cached_db are not read by way of its cache: a copy there can outlive its row,
    # and reading would make one of a row that is just being deleted.
    loads = (DatabaseSessionStore.load, CachedDatabaseSessionStore.load)
    return engine.load in loads and _is_unchanged(
        engine, DatabaseSessionStore, ("_get_session_from_db",)
    )


def _read_rows(engine: Any, keys: set[str]) -> dict[str, dict[str, Any]]:
    store, model, now = engine(), engine.get_model_class(), timezone.now()
    # Not from a replica, which may not know of the newest session yet.
    rows = model._default_manager.using(router.db_for_write(model)).filter(session_key__in=keys)
    return {
        row.session_key: store.decode(row.session_data) if row.expire_date > now else {}
        for row in rows
    }


def _read_cache(engine: Any, keys: set[str]) -> dict[str, dict[str, Any]]:
    store = engine()
    # Caches raise at names that they do not take, as if they were away.
    names = {store.cache_key_prefix + key: key for key in keys if _CACHED_KEY.fullmatch(key)}
    try:
        found = store._cache.get_many(names)
    except Exception as error:
        raise SessionsUnavailable(type(error).__name__) from error
    return {names[name]: session for name, session in found.items()}


def _load_session(engine: Any, key: str) -> dict[str, Any]:
    store = engine(key)
    # Loading an expired session, some engines delete it and create another.
    vars(store).update(dict.fromkeys(("create", "delete", "save"), _do_nothing))
    session: dict[str, Any] = store.load()
    return session


def _is_unchanged(subclass: type, base: type, methods: Iterable[str]) -> bool:
    """Whether a class still has these methods of `base`, so that its work can be done for many."""
    return all(getattr(subclass, name, None) is getattr(base, name) for name in methods)


def _do_nothing(*args: Any, **kwargs: Any) -> None:
    pass


def _account_key(session: dict[str, Any]) -> Any:
    """Return the primary key in a session of a backend that is still in use."""
    if session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    try:
        return get_user_model()._meta.pk.to_python(session.get(SESSION_KEY))
    except ValidationError:
        return None


def _model_backend_accounts(sessions: Iterable[dict[str, Any]]) -> dict[Any, Any]:
    """Return the accounts whose backend finds them as ModelBackend does, by primary key."""
    backends = {session.get(BACKEND_SESSION_KEY, "") for session in sessions}
    plain = {
        path
        for path in backends.intersection(settings.AUTHENTICATION_BACKENDS)
        if _is_unchanged(
            type(load_backend(path)), ModelBackend, ("get_user", "user_can_authenticate")
        )
    }
    keys = {_account_key(s) for s in sessions if s.get(BACKEND_SESSION_KEY) in plain}
    found = get_user_model()._default_manager.filter(pk__in=keys - {None})
    return {account.pk: account for account in found}


def _account(session: dict[str, Any], known: dict[Any, Any]) -> Any:
    """Return the account of a session as django.contrib.auth.get_user does, also if inactive."""
    user_model = get_user_model()
    key = _account_key(session)
    if key is None:
        return None
    account = known.get(key) or load_backend(session[BACKEND_SESSION_KEY]).get_user(key)
    if account is None:
        # Backends hide inactive accounts; those are told another code.
        hidden = user_model._base_manager.filter(pk=key).first()
        return None if _is_active(hidden) else hidden
    return account


def _is_active(account: Any) -> bool:
    return bool(getattr(account, "is_active", True))  # not every user model has the field


def _is_current(session: dict[str, Any], account: Any) -> bool:
    """Whether the session was opened with the account's present password."""
    if not hasattr(account, "get_session_auth_hash"):
        return True
    known = session.get(HASH_SESSION_KEY) or ""
    hashes = [account.get_session_auth_hash(), *account.get_session_auth_fallback_hash()]
    return any(constant_time_compare(known, valid) for valid in hashes)
