"""
Statements for many rows at once.

Django's `bulk_update` writes a CASE with a branch per row and field. For 1,000 rows
that takes most of a second, during which the inboxes of 1,000 accounts are locked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.db import connections, models
from django.db.models import BooleanField, F, Func, Q, Value
from django.db.models.expressions import RawSQL


def one_of(keys: Sequence[Any], field: Any, using: str) -> RawSQL:
    """
    Return these values of a field as a subquery, for `…__in` and FROM; its only column is `key`.

    It has one parameter. A list would have one per value, which takes Django
    longer than the query takes the database.
    """
    array = _array(keys, field, using)
    if connections[using].vendor == "postgresql":
        return RawSQL(f"SELECT unnest(%s::{array.kind}[]) AS key", [array.values])
    return RawSQL("SELECT value AS key FROM json_each(%s)", [array.values])


def is_one_of(name: str, keys: Sequence[Any], field: Any, using: str) -> Q:
    """
    Return the condition that `name` is one of these values of a field.

    On PostgreSQL, each value is looked up in the index of `name`. With a subquery, the planner
    may expect few matching rows and read the whole table.
    """
    if connections[using].vendor != "postgresql":
        return Q(**{f"{name}__in": one_of(keys, field, using)})
    array = _array(keys, field, using)
    return Q(
        Func(
            F(name),
            Value(array.values),
            arg_joiner=" = ANY(",
            template=f"(%(expressions)s::{array.kind}[]))",
            output_field=BooleanField(),
        )
    )


def values_of(rows: models.QuerySet[Any], name: str, using: str) -> models.QuerySet[Any] | RawSQL:
    """
    Return a column of the rows, for `…__in` in a query of this database.

    It is a subquery if they are in the same one; otherwise they are read first.
    """
    values = rows.order_by().values_list(name, flat=True).distinct()
    if rows.db == using:
        return values
    meta = rows.model._meta
    field = meta.pk if name == "pk" else meta.get_field(name)
    return one_of(list(values), field, using)


class _Array(NamedTuple):
    values: Any
    kind: str  # the database type of one value


def _array(keys: Sequence[Any], field: Any, using: str) -> _Array:
    connection = connections[using]
    kind = field.db_type(connection)
    values: Any = _stored(keys, field, connection)
    if connection.vendor != "postgresql":
        values = json.dumps(values, default=str)
    elif all(type(value) is int for value in values):
        kind = "bigint"  # some values may be too large for the field
        values = f"{{{','.join(map(str, values))}}}"  # psycopg would check each for quotes
    return _Array(values, kind)


def _stored(values: Iterable[Any], field: Any, connection: Any) -> list[Any]:
    """Return the values of a field as the database stores them."""
    return [
        # Most are integers, which need no conversion.
        value if type(value) is int else field.get_db_prep_save(value, connection)
        for value in values
    ]


def update_rows(
    model: type[models.Model], rows: Sequence[Any], fields: Sequence[str], using: str
) -> None:
    """Update these fields of the rows; `rows` are any objects with the model's attributes."""
    if not rows:
        return
    connection = connections[using]
    meta = model._meta
    assert meta.pk is not None
    columns: list[Any] = [meta.pk, *(meta.get_field(name) for name in fields)]
    # By columns, as a call per value would take longer than everything else here.
    stored = [
        _stored([getattr(row, column.attname) for row in rows], column, connection)
        for column in columns
    ]
    values = json.dumps([*zip(*stored, strict=True)], default=str)
    if connection.vendor == "postgresql":
        # Not unnest: PostgreSQL knows how many rows that returns, and then sometimes reads the
        # whole table instead of its index.
        cells = ", ".join(
            f"CAST(value ->> {n} AS {column.db_type(connection)}) AS c{n}"
            for n, column in enumerate(columns)
        )
        source = f"SELECT {cells} FROM jsonb_array_elements(%s::jsonb) AS value"
    else:
        cells = ", ".join(f"json_extract(value, '$[{n}]') AS c{n}" for n in range(len(columns)))
        source = f"SELECT {cells} FROM json_each(%s)"
    quote: Any = connection.ops.quote_name
    assignments = ", ".join(
        f"{quote(column.column)} = new.c{n}" for n, column in enumerate(columns) if n
    )
    table = quote(meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {assignments} FROM ({source}) AS new "
            f"WHERE {table}.{quote(meta.pk.column)} = new.c0",
            [values],
        )
