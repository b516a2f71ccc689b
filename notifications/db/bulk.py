"""
Many rows in one statement, each with values of its own.

Django's `bulk_update` writes a CASE with a branch per row and field: 1,000 rows
take it most of a second, with the inboxes of 1,000 accounts locked meanwhile.
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
    Return these values of a field as a subquery of one parameter, for `…__in` and FROM.

    Its only column is `key`. A list would be a parameter for each, which
    takes Django longer than the query takes the database.
    """
    array = _array(keys, field, using)
    if connections[using].vendor == "postgresql":
        return RawSQL(f"SELECT unnest(%s::{array.kind}[]) AS key", [array.values])
    return RawSQL("SELECT value AS key FROM json_each(%s)", [array.values])


def is_one_of(name: str, keys: Sequence[Any], field: Any, using: str) -> Q:
    """
    Return the condition that `name` is one of these values of a field.

    On PostgreSQL it looks up each value in the index of `name`. Of a subquery it thinks
    otherwise where it knows of few matching rows, and reads however many there are.
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


class _Array(NamedTuple):
    values: Any
    kind: str  # of a value, in the database


def _array(keys: Sequence[Any], field: Any, using: str) -> _Array:
    connection = connections[using]
    kind = field.db_type(connection)
    values: Any = _stored(keys, field, connection)
    if connection.vendor != "postgresql":
        values = json.dumps(values, default=str)
    elif all(type(value) is int for value in values):
        kind = "bigint"  # some may be too large for the field
        values = f"{{{','.join(map(str, values))}}}"  # psycopg would look for quotes in each
    return _Array(values, kind)


def _stored(values: Iterable[Any], field: Any, connection: Any) -> list[Any]:
    """Return the values of a field as the database takes them."""
    return [
        # Most are numbers, and as they are.
        value if type(value) is int else field.get_db_prep_save(value, connection)
        for value in values
    ]


def update_rows(
    model: type[models.Model], rows: Sequence[Any], fields: Sequence[str], using: str
) -> None:
    """Write these fields of objects that have a row's attributes to the rows with their keys."""
    if not rows:
        return
    connection = connections[using]
    meta = model._meta
    assert meta.pk is not None
    columns: list[Any] = [meta.pk, *(meta.get_field(name) for name in fields)]
    # By columns: a call for each value would take longer than all else here.
    stored = [
        _stored([getattr(row, column.attname) for row in rows], column, connection)
        for column in columns
    ]
    values = json.dumps([*zip(*stored, strict=True)], default=str)
    if connection.vendor == "postgresql":
        # Not unnest: of that, PostgreSQL knows how many rows it gives, and then it sometimes
        # prefers to read the whole table.
        cells = ", ".join(
            f"CAST(value ->> {n} AS {column.cast_db_type(connection)}) AS c{n}"
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
