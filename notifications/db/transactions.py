"""Short transactions that are retried after a conflict with another one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from django.db import OperationalError, transaction

T = TypeVar("T")

MAX_ATTEMPTS: Final = 5
# SQLSTATEs of serialization failures and deadlocks.
_RETRIED_STATES = frozenset({"40001", "40P01"})


def in_short_transaction(work: Callable[[], T], using: str) -> T:
    """
    Run `work` in a transaction of its own; return its result.

    Serialization failures, deadlocks and SQLite's "database is locked" are retried
    after a random pause, except inside a caller's transaction, where they are raised.
    """
    nested = transaction.get_connection(using).in_atomic_block
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            with transaction.atomic(using=using):
                return work()
        except OperationalError as error:
            if nested or attempt == MAX_ATTEMPTS or not _is_conflict(error):
                raise
        time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise AssertionError("unreachable")


def _is_conflict(error: OperationalError) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state in _RETRIED_STATES or "locked" in str(error)
