"""Sessions are read in bulk where that is known to be correct, otherwise one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.cached_db import SessionStore as CachedDatabaseStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.backends.file import SessionStore as FileStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.contrib.sessions.models import Session as SessionRow
from django.core.cache import cache
from django.core.checks import run_checks
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications import adapters
from notifications.sessions import readers
from notifications.sessions.adapter import ADAPTER
from notifications.sessions.authentication import Session, authenticate
from notifications.sessions.readers import CacheReader, RowReader, SessionsUnavailable

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def new_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn the adapter on again for each test."""
    monkeypatch.setattr(ADAPTER, "_reason", None)
    readers._bulk_reader.cache_clear()


@pytest.fixture
def site_engine(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[type], None]:
    """Make a class the site's session engine."""

    def use(engine: type) -> None:
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
        monkeypatch.setattr(import_module(settings.SESSION_ENGINE), "SessionStore", engine)

    return use


def log_in(account: User) -> str:
    browser = Client()
    browser.force_login(account)
    return browser.cookies["sessionid"].value


def accounts_of(*sessions: str) -> list[Any]:
    admissions = authenticate([Session(session) for session in sessions])
    return [admission.recipient and admission.recipient.account_id for admission in admissions]


def queries_of(*sessions: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        accounts_of(*sessions)
    return len(queries)


# --- Engines that are read in bulk


class WithDocumentedHooks(DatabaseStore):
    """A custom session model, as in Django's documentation."""

    @classmethod
    def get_model_class(cls) -> type[SessionRow]:
        return SessionRow

    def create_model_instance(self, data: dict[str, Any]) -> SessionRow:
        row: SessionRow = super().create_model_instance(data)
        return row

    def device(self) -> str:
        return "a method that Django does not have"


class CachedWithAnotherPrefix(CachedDatabaseStore):
    cache_key_prefix = "mysite.sessions"


class WithItsOwnLoad(DatabaseStore):
    def load(self) -> dict[str, Any]:
        return {**super().load(), "more": True}


class WithItsOwnDecode(DatabaseStore):
    def decode(self, session_data: Any) -> dict[str, Any]:
        data: dict[str, Any] = super().decode(session_data)
        return data


class WithItsOwnPrivateMethod(DatabaseStore):
    """By a private method, which must apply to connections as well."""

    def _get_session_from_db(self) -> Any:
        return None


class WithItsOwnCacheKey(CacheStore):
    @property
    def cache_key(self) -> str:
        return f"elsewhere.{super().cache_key}"


class Refusing:
    def load(self) -> dict[str, Any]:
        return {}


class WithAMixin(Refusing, DatabaseStore):
    pass


@pytest.mark.parametrize(
    ("engine", "reader"),
    [
        (DatabaseStore, RowReader),
        (CachedDatabaseStore, RowReader),
        (CacheStore, CacheReader),
        (WithDocumentedHooks, RowReader),
        (CachedWithAnotherPrefix, RowReader),
        (FileStore, type(None)),
        (CookieStore, type(None)),
        (WithItsOwnLoad, type(None)),
        (WithItsOwnDecode, type(None)),
        (WithItsOwnPrivateMethod, type(None)),
        (WithItsOwnCacheKey, type(None)),
        (WithAMixin, type(None)),
    ],
)
def test_only_engines_that_read_as_djangos_own_are_read_in_bulk(engine: type, reader: type) -> None:
    assert type(readers._bulk_reader(engine)) is reader


@pytest.mark.parametrize("engine", [DatabaseStore, CachedDatabaseStore, WithDocumentedHooks])
def test_many_sessions_take_as_many_queries_as_one(
    alice: User, bob: User, site_engine: Callable[[type], None], engine: type
) -> None:
    site_engine(engine)
    sessions = [log_in(account) for account in (alice, bob, alice)]

    assert accounts_of(*sessions) == [alice.pk, bob.pk, alice.pk]
    assert queries_of(*sessions) == queries_of(sessions[0]) == 3


@pytest.mark.parametrize(
    ("engine", "is_admitted"),
    [(WithItsOwnLoad, True), (WithItsOwnDecode, True)]
    + [(WithItsOwnPrivateMethod, False), (WithAMixin, False)],
)
def test_an_engine_with_its_own_rules_decides(
    alice: User, site_engine: Callable[[type], None], engine: type, is_admitted: bool
) -> None:
    site_engine(engine)

    assert accounts_of(log_in(alice)) == [alice.pk if is_admitted else None]


# --- One by one


class ThatReplacesExpired(DatabaseStore):
    """Replaces an expired session when it is loaded, as the file engine does."""

    def load(self) -> dict[str, Any]:
        data: dict[str, Any] = super().load()
        if not data:
            self.delete(self.session_key)
            self.create()
            self.save()
            self.flush()
        return data


def test_loading_a_session_writes_nothing_whatever_the_engine_does(
    alice: User, site_engine: Callable[[type], None]
) -> None:
    site_engine(ThatReplacesExpired)
    expired, alive = log_in(alice), log_in(alice)
    SessionRow.objects.filter(pk=expired).update(expire_date=timezone.now())
    before = sorted(SessionRow.objects.values_list())

    assert accounts_of(expired, alive) == [None, alice.pk]
    assert sorted(SessionRow.objects.values_list()) == before


def test_the_read_only_class_is_created_once() -> None:
    assert readers._store_reader(ThatReplacesExpired) is readers._store_reader(ThatReplacesExpired)


def test_an_unreachable_cache_ends_no_session(
    alice: User, site_engine: Callable[[type], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django's own engine treats it as empty, which would close all connections."""

    def fail(*args: Any) -> None:
        raise ConnectionError

    session = log_in(alice)
    for method in ("get", "get_many"):
        monkeypatch.setattr(cache, method, fail)

    for engine in (CacheStore, WithItsOwnCacheKey):
        site_engine(engine)
        with pytest.raises(SessionsUnavailable, match="ConnectionError"):
            accounts_of(session)


# --- Another Django


@pytest.mark.parametrize("version", ["5.2", "5.2.30", "6.0.1", "6.1.3"])
def test_sessions_are_read_in_bulk_with_a_tested_django(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "installed_version", {"Django": version}.get)

    assert ADAPTER.is_on
    assert ADAPTER.check() == []


@pytest.mark.parametrize("version", ["5.1.9", "6.10", "6.2", "7.0"])
def test_sessions_are_read_one_by_one_with_an_untested_django(
    alice: User,
    bob: User,
    version: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sessions = [log_in(alice), log_in(bob)]
    monkeypatch.setattr(adapters, "installed_version", {"Django": version}.get)

    for _ in range(2):
        assert accounts_of(*sessions) == [alice.pk, bob.pk]

    assert queries_of(*sessions) == 2 + 2 + 1  # sessions, accounts, their groups
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"Private parts of Django {version} are not used: not tested with Django {version}. "
        "Sessions and their accounts are read one by one, which takes more queries. "
        "(notifications.W030)"
    )
    warnings = [message for message in run_checks() if message.id == "notifications.W030"]
    assert [version in warning.msg for warning in warnings] == [True]


def test_an_engine_without_the_expected_parts_is_read_one_by_one(
    alice: User, site_engine: Callable[[type], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class OfAnotherDjango(DatabaseStore):
        model = SessionRow  # type: ignore[assignment]

        @classmethod
        def get_model_class(cls) -> Any:
            return type("Session", (), {"session_key": "", "session_data": b""})

    site_engine(OfAnotherDjango)
    monkeypatch.setattr(readers, "_DOCUMENTED_HOOKS", {"get_model_class", "model"})

    assert accounts_of(log_in(alice)) == [alice.pk]
    (warning,) = ADAPTER.check()
    assert "Session.session_data is of type bytes, Session.expire_date is missing" in warning.msg


@pytest.mark.parametrize("engine", ["db", "cached_db", "cache"], indirect=True)
def test_after_an_error_in_bulk_sessions_are_read_one_by_one(
    alice: User, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, keys: Any) -> None:
        raise AttributeError("'SessionStore' object has no attribute 'decode'")

    session = log_in(alice)
    for reader in (RowReader, CacheReader):
        monkeypatch.setattr(reader, "read", fail)

    assert accounts_of(session, "forged" * 5) == [alice.pk, None]
    assert not ADAPTER.is_on
    assert "no attribute 'decode'" in ADAPTER.check()[0].msg


class EmptyBackend(ModelBackend):
    def get_user(self, user_id: Any) -> None:
        return None


class BackendWithItsOwnLogin(ModelBackend):
    """Its own way to log in, but finds accounts as ModelBackend does."""

    def authenticate(self, request: Any, **credentials: Any) -> Any:
        return None


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize(
    ("backend", "is_admitted"),
    [(EmptyBackend, False), (BackendWithItsOwnLogin, True)],
)
def test_the_backend_of_the_session_decides(
    alice: User,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    backend: type,
    is_admitted: bool,
    is_on: bool,
) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.{backend.__name__}"]
    session = log_in(alice)
    monkeypatch.setattr(ADAPTER, "_reason", "" if is_on else "switched off")

    assert accounts_of(session) == [alice.pk if is_admitted else None]
