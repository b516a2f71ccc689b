"""Reading rows that other code may have written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

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
    except Exception:
        # If the database is unavailable, this fails as well.
        keys = list(rows.values_list("pk", flat=True))
        return list(islice(_one_by_one(rows, keys), limit))


def _one_by_one(rows: QuerySet[ModelT], keys: list[Any]) -> Iterator[ModelT]:
    for key in keys:
        try:
            yield from list(rows.filter(pk=key))
        except Exception as error:
            name, reason = rows.model._meta.label, type(error).__name__
            logger.error("Left out: %s %s can't be read (%s)", name, key, reason)
