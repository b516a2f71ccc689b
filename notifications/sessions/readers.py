"""
Reads stored sessions, and never writes them.

Connecting must never change a session. Django's own engines are read without their `load`, all
sessions at once; any other engine loads each one, in a subclass that can't write.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from functools import cache
from importlib import import_module
from typing import Any, Final

from django.conf import settings
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.cached_db import SessionStore as CachedDatabaseStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.core.cache import caches
from django.db import DatabaseError, router
from django.utils import timezone

from notifications.adapters import differences

from .adapter import ADAPTER, overridden

SessionData = dict[str, Any]

# Subclasses of Django's engines override these, as documented.
_DOCUMENTED_HOOKS: Final = frozenset(
    {"get_model_class", "create_model_instance", "acreate_model_instance", "cache_key_prefix"}
)
_WRITING_METHODS: Final = ("create", "save", "delete")
_CACHED_KEY: Final = re.compile(r"[a-z0-9]{8,40}", re.ASCII)  # as Django makes them


class SessionsUnavailable(DatabaseError):
    """The sessions' cache can't be reached. This ends no session, and admits no connection."""


class SessionReader(ABC):
    """One way to read the sessions of an engine."""

    def __init__(self, engine: type[Any]) -> None:
        self._engine = engine

    @abstractmethod
    def read(self, keys: Collection[str]) -> dict[str, SessionData]:
        """
        Return the data of the sessions that exist, by their keys; {} for an expired one.

        Raises DatabaseError if they can't be read now.
        """


class RowReader(SessionReader):
    """Reads the rows of an engine that keeps its sessions in the database, with one query."""

    def read(self, keys: Collection[str]) -> dict[str, SessionData]:
        store = self._engine()
        model, now = store.get_model_class(), timezone.now()
        # Not from a replica, which may not have the newest session yet.
        rows = model._default_manager.using(router.db_for_write(model))
        return {
            row.session_key: store.decode(row.session_data) if row.expire_date > now else {}
            for row in rows.filter(session_key__in=keys)
        }

    def probe(self) -> list[str]:
        store = self._engine()
        found = differences(store, get_model_class=Callable, decode=Callable)
        row = store.get_model_class()() if not found else None
        return found or differences(row, session_key=str, session_data=str, expire_date=object)


class CacheReader(SessionReader):
    """Reads the entries of an engine that keeps its sessions in the cache, with one call."""

    def read(self, keys: Collection[str]) -> dict[str, SessionData]:
        prefix = self._engine.cache_key_prefix
        # Caches raise the same errors for invalid keys as if they could not be reached.
        names = {prefix + key: key for key in keys if _CACHED_KEY.fullmatch(key)}
        try:
            found = _session_cache().get_many(names)
        except Exception as error:
            raise SessionsUnavailable(type(error).__name__) from error
        return {names[name]: data for name, data in found.items()}

    def probe(self) -> list[str]:
        return differences(self._engine(), cache_key_prefix=str)


class StoreReader(SessionReader):
    """Lets an engine load its sessions, one by one."""

    def __init__(self, engine: type[Any], **methods: Callable[..., Any]) -> None:
        """methods: functions that replace methods of the engine."""
        # When they load an expired session, some engines delete it and create another.
        writing = dict.fromkeys(_WRITING_METHODS, _do_nothing)
        # Django signs sessions with the engine's qualified name.
        names = {"__module__": engine.__module__, "__qualname__": engine.__qualname__}
        super().__init__(type(engine.__name__, (engine,), {**names, **writing, **methods}))

    def read(self, keys: Collection[str]) -> dict[str, SessionData]:
        if issubclass(self._engine, CacheStore):
            _require_cache()  # its `load` treats an unreachable cache as an empty one
        loaded = {key: self._engine(key).load() for key in keys}
        return {key: data for key, data in loaded.items() if data}


def read_sessions(keys: Collection[str]) -> dict[str, SessionData]:
    """
    Return the data of the sessions that exist in the site's engine, by their keys.

    An expired one is {} or left out, depending on the engine. Raises DatabaseError if they can't
    be read now.
    """
    # A quoted cookie can contain NUL, which PostgreSQL rejects.
    usable = {key for key in keys if key and "\x00" not in key}
    engine = import_module(settings.SESSION_ENGINE).SessionStore
    if ADAPTER.is_on and (reader := _bulk_reader(engine)):
        try:
            return reader.read(usable)
        except (AttributeError, TypeError) as error:
            ADAPTER.turn_off(repr(error))
    return _store_reader(engine).read(usable)


@cache
def _bulk_reader(engine: type[Any]) -> RowReader | CacheReader | None:
    """Return the reader of one of Django's engines, None for any other."""
    base = _django_engine(engine)
    if base is None:
        return None
    reader = CacheReader(engine) if base is CacheStore else RowReader(engine)
    if found := reader.probe():
        ADAPTER.turn_off(", ".join(found))
        return None
    return reader


@cache
def _store_reader(engine: type[Any]) -> StoreReader:
    if _django_engine(engine) is CachedDatabaseStore:
        # Not through its cache: a copy there can outlive its row, and reading could add
        # one of a row that is being deleted.
        return StoreReader(engine, load=DatabaseStore.load)
    return StoreReader(engine)


def _django_engine(engine: type[Any]) -> type[Any] | None:
    """Return Django's engine if this is one, or overrides only its documented hooks."""
    for base in (CachedDatabaseStore, DatabaseStore, CacheStore):
        if issubclass(engine, base):
            return base if overridden(engine, base) <= _DOCUMENTED_HOOKS else None
    return None


def _session_cache() -> Any:
    return caches[settings.SESSION_CACHE_ALIAS]


def _require_cache() -> None:
    try:
        _session_cache().get("notifications")
    except Exception as error:
        raise SessionsUnavailable(type(error).__name__) from error


def _do_nothing(*args: Any, **kwargs: Any) -> None:
    pass
