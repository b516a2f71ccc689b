"""Messages that were retracted and are not removed yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connections, models

from notifications.db import times
from notifications.db.bulk import one_of

from .broadcasts import Broadcast
from .notifications import Notification


class RetractionQuerySet(models.QuerySet["Retraction"]):
    def insert(
        self, model: type[Notification | Broadcast], keys: Sequence[int], at: datetime, by: Any
    ) -> list[int]:
        """
        Retract these messages of a model in one statement; return the keys of the new rows.

        by: the primary key of an account, or None.

        Skips messages that are removed, or whose retraction can be seen from this transaction.
        """
        connection = connections[self.db]
        quote: Callable[[Any], str] = connection.ops.quote_name
        own, wanted = Retraction._meta, one_of(keys, model._meta.pk, self.db)
        fields: list[Any] = [own.get_field("retracted_at"), own.get_field("retracted_by")]
        # PostgreSQL assumes that an untyped value in a SELECT is text. SQLite needs no cast.
        placeholders = [
            f"CAST(%s AS {field.cast_db_type(connection)})"
            if connection.vendor == "postgresql"
            else "%s"
            for field in fields
        ]
        key, reference = quote(model._meta.pk.column), quote(f"{model._meta.model_name}_id")
        copied = {reference: f"message.{key}"}
        if model is Notification:
            account = quote(own.get_field("account").column)
            copied[account] = f"message.{account}"
        columns = [*copied, *(quote(field.column) for field in fields)]
        statement = (
            f"INSERT INTO {quote(own.db_table)} ({', '.join(columns)}) "
            f"SELECT {', '.join([*copied.values(), *placeholders])} "
            f"FROM {quote(model._meta.db_table)} AS message "
            f"WHERE message.{key} IN ({wanted.sql}) AND message.removed_at IS NULL "
            f"AND NOT EXISTS (SELECT 1 FROM {quote(own.db_table)} AS earlier "
            f"WHERE earlier.{reference} = message.{key}) "
            f"ORDER BY message.{key} RETURNING {quote(own.pk.column)}"
        )
        with connection.cursor() as cursor:
            cursor.execute(
                statement,
                [
                    *(
                        field.get_db_prep_save(value, connection)
                        for field, value in zip(fields, (at, by), strict=True)
                    ),
                    *wanted.params,
                ],
            )
            return sorted(pk for (pk,) in cursor.fetchall())


class Retraction(models.Model):
    """
    One message that was retracted: inserted with the caller's transaction, deleted when the
    message is removed.

    Nothing here waits for another transaction, or callers that retract the same messages in
    another order would deadlock: no constraint locks the message's row, and none is unique. So a
    message may be here twice.
    """

    # Either of the two.
    notification = models.ForeignKey(
        Notification,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
    )
    broadcast = models.ForeignKey(
        Broadcast, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="+"
    )
    # Of the notification.
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
        db_index=False,
    )
    retracted_at = times.TimeField()
    retracted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
        db_index=False,
    )

    objects = RetractionQuerySet.as_manager()

    def __str__(self) -> str:
        message = (
            f"{Notification.wire_prefix}{self.notification_id}"
            if self.notification_id
            else f"{Broadcast.wire_prefix}{self.broadcast_id}"
        )
        return f"Retraction of {message}"
