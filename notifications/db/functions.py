"""Functions of the database that Django has no names for."""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, FloatField, Func


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
