"""Notifications: one row per account and message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.conf import settings
from django.db import connections, models
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from notifications import protocol
from notifications.db import times
from notifications.db.bulk import one_of

from .ends import AccountEnded
from .message import Message, State

# Archived implies read, so `archived_at` is not needed here.
IS_SETTLED: Final = models.Q(read_at__isnull=False) | models.Q(removed_at__isnull=False)
SETTLED_AT: Final = Coalesce("removed_at", "archived_at", "read_at")


class NotificationQuerySet(models.QuerySet["Notification"]):
    def unnumbered(self) -> NotificationQuerySet:
        """Committed, but without numbers yet, so still invisible."""
        return self.filter(seq=None)

    def present(self) -> NotificationQuerySet:
        return self.filter(seq__isnull=False, removed_at=None)

    def in_inbox(self) -> NotificationQuerySet:
        return self.present().filter(archived_at=None)

    def unread(self) -> NotificationQuerySet:
        return self.in_inbox().filter(read_at=None)

    def archived(self) -> NotificationQuerySet:
        return self.present().filter(archived_at__isnull=False)

    def settled(self) -> NotificationQuerySet:
        """Read, archived or removed, with the time of the last of these as `settled_at`."""
        return self.filter(IS_SETTLED).annotate(settled_at=SETTLED_AT)

    def insert(self, account_ids: Sequence[Any], **values: Any) -> list[int]:
        """
        Insert the same row for each account in one statement; return the new rows' ids.

        Accounts that have a row with the same idempotency key, from the same life, are skipped.
        Without a value for `life`, it is the one that the recorded ends say.
        Not `bulk_create(ignore_conflicts=True)`, which does not return ids.
        """
        connection = connections[self.db]
        row = Notification(**values)
        fields = [
            field
            for field in Notification._meta.concrete_fields
            if not field.primary_key and field.name not in {"account", "life"}
        ]
        account = Notification._meta.get_field("account")
        accounts = one_of(account_ids, account, self.db)
        quote: Callable[[Any], str] = connection.ops.quote_name
        columns = ", ".join(quote(field.column) for field in fields)
        # PostgreSQL assumes that an untyped value in a SELECT is text. SQLite needs no cast.
        placeholders = ", ".join(
            f"CAST(%s AS {field.cast_db_type(connection)})"
            if connection.vendor == "postgresql"
            else "%s"
            for field in fields
        )
        statement = (
            f"INSERT INTO {quote(Notification._meta.db_table)} "
            f"({quote(account.column)}, life, {columns}) "
            f"SELECT account.key, {self._life(row)}, {placeholders} "
            f"FROM ({accounts.sql}) AS account WHERE true ORDER BY account.key "
            f"ON CONFLICT DO NOTHING RETURNING {quote(Notification._meta.pk.column)}"
        )
        with connection.cursor() as cursor:
            cursor.execute(
                statement,
                [
                    *(
                        field.get_db_prep_save(getattr(row, field.attname), connection)
                        for field in fields
                    ),
                    *accounts.params,
                ],
            )
            return sorted(pk for (pk,) in cursor.fetchall())

    def _life(self, row: Notification) -> str:
        """Return the SQL of a new row's `life`, for the key of an account in `account.key`."""
        if row.idempotency_key is None:
            return "0"
        if row.life:
            return str(row.life)
        quote: Callable[[Any], str] = connections[self.db].ops.quote_name
        ends, account = AccountEnded._meta.db_table, AccountEnded._meta.get_field("account")
        return (
            f"COALESCE((SELECT MAX(ended.notifications_upto) FROM {quote(ends)} AS ended "
            f"WHERE ended.{quote(account.column)} = account.key), 0)"
        )


class Notification(Message):
    """One message in one account's inbox."""

    wire_prefix = "n"

    account = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_index=False,
    )
    idempotency_key = models.CharField(max_length=200, null=True, editable=False)  # noqa: DJ001  unique
    # The last id of the account's earlier lives, whose keys don't count; 0 without a key.
    life = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    replace_key = models.CharField(max_length=200, blank=True, editable=False)
    # Primary key of the notification that this one replaced.
    replaces = models.BigIntegerField(null=True, editable=False)
    read_at = times.TimeField(null=True, editable=False)
    archived_at = times.TimeField(null=True, editable=False)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        constraints = [
            models.UniqueConstraint(
                fields=["account", "idempotency_key", "life"],
                condition=models.Q(idempotency_key__isnull=False),
                name="site_notif_once_per_life",
            ),
            # Partial, so that inserting a row, before it has numbers, does not touch the index.
            models.UniqueConstraint(
                fields=["account", "seq"],
                condition=models.Q(seq__isnull=False),
                name="site_notif_one_per_seq",
            ),
        ]
        indexes = [
            models.Index(
                fields=["account", "-number"],
                condition=models.Q(seq__isnull=False, removed_at=None, archived_at=None),
                name="site_notif_page",
            ),
            models.Index(
                fields=["account", "-number"],
                condition=models.Q(
                    seq__isnull=False, removed_at=None, archived_at=None, read_at=None
                ),
                name="site_notif_unread",
            ),
            models.Index(
                fields=["account", "id"],
                condition=models.Q(seq=None),
                name="site_notif_unnumbered",
            ),
            models.Index(
                fields=["expires_at"],
                condition=models.Q(expires_at__isnull=False, removed_at=None),
                name="site_notif_expiring",
            ),
            models.Index(
                fields=["account", "replace_key"],
                condition=models.Q(read_at=None, removed_at=None) & ~models.Q(replace_key=""),
                name="site_notif_replaceable",
            ),
            # For retention: each numbered row is in exactly one of the next two.
            models.Index(
                fields=["type", "created_at"],
                condition=models.Q(
                    seq__isnull=False, removed_at=None, archived_at=None, read_at=None
                ),
                name="site_notif_ageing",
            ),
            models.Index("type", SETTLED_AT, condition=IS_SETTLED, name="site_notif_settled"),
        ]

    @property
    def state(self) -> State:
        if self.removed_at:
            return State.REMOVED
        if self.archived_at:
            return State.ARCHIVED
        return State.READ if self.read_at else State.UNREAD

    def frame(self, state: str = "", **numbers: Any) -> protocol.Frame:
        replaces = None if self.replaces is None else f"{self.wire_prefix}{self.replaces}"
        return {**super().frame(state or self.state, seq=self.seq, **numbers), "replaces": replaces}
