"""Functions of the database that Django has no names for."""

from __future__ import annotations

from typing import Any

from django.db.models import BigIntegerField, CharField, FloatField, Func, Model


class RandomHex(Func):
    """32 random hexadecimal digits."""

    template = "replace(gen_random_uuid()::text, '-', '')"
    arity = 0
    output_field = CharField()

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="lower(hex(randomblob(16)))", **extra)


class EpochSeconds(Func):
    """The database's time, in seconds since 1970. Unlike `Now`, it depends on no time zone."""

    template = "EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP())::float8"
    arity = 0
    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "((julianday('now') - 2440587.5) * 86400.0)"
        return self.as_sql(compiler, connection, template=template, **extra)


class LastId(Func):
    """
    The last automatic primary key of a model, 0 before the first.

    On PostgreSQL, rows of transactions that have not committed yet count as well.
    """

    output_field = BigIntegerField()

    def __init__(self, model: type[Model]) -> None:
        super().__init__()
        self._model = model

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        meta = self._model._meta
        assert meta.pk is not None
        sequence = "pg_sequence_last_value(pg_get_serial_sequence(%s, %s)::regclass)"
        table = connection.ops.quote_name(meta.db_table)
        return f"COALESCE({sequence}, 0)", [table, meta.pk.column]

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        meta = self._model._meta
        assert meta.pk is not None
        quote = connection.ops.quote_name
        table, key = quote(meta.db_table), quote(meta.pk.column)
        return f"(SELECT COALESCE(MAX({key}), 0) FROM {table})", []
