"""
Short transactions: limited in time, and retried after a conflict with another one.

A process may be stopped, or its host lost, in the middle of a transaction, and then keeps its
locks. PostgreSQL ends such a transaction, and those that waited for its locks go on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.db import DatabaseError, OperationalError, transaction

T = TypeVar("T")

MAX_ATTEMPTS: Final = 5
IDLE_SECONDS: Final = 5.0  # between two statements, then PostgreSQL ends the connection
# Longer, so that a waiter outlasts the transaction of a process that stands still.
LOCK_SECONDS: Final = 7.0
STATEMENT_SECONDS: Final = 8.0
NO_WAIT_SECONDS: Final = 0.1  # for the locks of one that must not wait
# SQLSTATEs of serialization failures and deadlocks.
_RETRIED_STATES = frozenset({"40001", "40P01"})
# Of a lock that was not released in time, and of a statement that took too long.
_BUSY_STATES = frozenset({"55P03", "57014"})


def in_short_transaction(work: Callable[[], T], using: str, *, waits: bool = True) -> T:
    """
    Run `work` in a transaction of its own; return its result.

    Serialization failures, deadlocks and SQLite's "database is locked" are retried
    after a random pause, except inside a caller's transaction, where they are raised.

    On PostgreSQL, a transaction of its own has limits, and its commit is on disk when this
    returns, whatever the site's `synchronous_commit` is.
    waits: whether it waits for the locks of others, LOCK_SECONDS for each at most. If one is not
    released in time, an error is raised for which `is_busy` is true.
    """
    connection = transaction.get_connection(using)
    nested = connection.in_atomic_block
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            with transaction.atomic(using=using):
                if not nested and connection.vendor == "postgresql":
                    _limit(connection, LOCK_SECONDS if waits else NO_WAIT_SECONDS)
                return work()
        except OperationalError as error:
            if nested or attempt == MAX_ATTEMPTS or not _is_conflict(error):
                raise
        time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise AssertionError("unreachable")


def is_busy(error: DatabaseError) -> bool:
    """Whether another transaction held a lock for too long; nothing is wrong otherwise."""
    return getattr(error.__cause__, "sqlstate", None) in _BUSY_STATES


def _limit(connection: Any, lock_seconds: float) -> None:
    """Set the limits of the transaction that has just begun."""
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        # By the driver's own cursor: it sends all of them at once, and they are none of the
        # site's queries. LOCAL, as a pooler gives the connection to others afterwards.
        cursor.execute(
            f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000:.0f};"
            f"SET LOCAL lock_timeout = {lock_seconds * 1000:.0f};"
            f"SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000:.0f};"
            "SET LOCAL synchronous_commit = on"
        )


def _is_conflict(error: OperationalError) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state in _RETRIED_STATES or "locked" in str(error)
