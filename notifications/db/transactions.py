"""Short transactions that are tried again when another one was in the way."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from django.db import OperationalError, transaction

T = TypeVar("T")

MAX_ATTEMPTS: Final = 5
# SQLSTATE of serialisation failures and deadlocks.
_RETRIED_STATES = frozenset({"40001", "40P01"})


def in_short_transaction(work: Callable[[], T], using: str) -> T:
    """
    Return what `work` returns, run in a transaction of its own.

    Serialisation failures, deadlocks and SQLite's "database is locked" are
    tried again after a random pause; inside a caller's transaction they can't
    be, and are raised at once.
    """
    nested = transaction.get_connection(using).in_atomic_block
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            with transaction.atomic(using=using):
                return work()
        except OperationalError as error:
            if nested or attempt == MAX_ATTEMPTS or not _was_in_the_way(error):
                raise
        time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise AssertionError("unreachable")


def _was_in_the_way(error: OperationalError) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state in _RETRIED_STATES or "locked" in str(error)
