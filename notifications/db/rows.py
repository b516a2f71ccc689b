"""Reading rows that other code may have written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

from django.db import InterfaceError, InternalError, OperationalError
from django.db.models import Model, QuerySet

logger = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=Model)


def read_rows(rows: QuerySet[ModelT], limit: int | None = None) -> list[ModelT]:
    """
    Return the rows, at most `limit` of them; those that can't be read are left out, and logged.

    A column may hold what no release writes, such as a time that Python has no value for. Without
    this, one such row would make its account's inbox unreadable for good.
    """
    try:
        return list(rows[:limit])
    except Exception as error:
        if _is_of_the_database(error):
            raise
        keys = list(rows.values_list("pk", flat=True))
        return list(islice(_one_by_one(rows, keys), limit))


def _one_by_one(rows: QuerySet[ModelT], keys: list[Any]) -> Iterator[ModelT]:
    for key in keys:
        try:
            yield from list(rows.filter(pk=key))
        except Exception as error:
            if _is_of_the_database(error):
                raise  # or all the remaining rows would be left out
            name, reason = rows.model._meta.label, type(error).__name__
            logger.error("Left out: %s %s can't be read (%s)", name, key, reason)


def _is_of_the_database(error: Exception) -> bool:
    """Whether the row is not to blame, but the connection, the transaction or a lock."""
    # SQLite reports text that is not UTF-8 with the class of a lost connection.
    return (
        isinstance(error, InterfaceError | InternalError | OperationalError)
        and "decode" not in str(error).lower()
    )
