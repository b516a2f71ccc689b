"""
The tables. A row is the truth; what goes over a socket only makes it appear sooner.

References to accounts have no database constraint: our rows must never block
or fail a transaction that deletes an account. Maintenance sweeps orphans.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import audiences, protocol
from .bulk import one_of
from .conf import conf


def validate_type(value: str) -> None:
    if not protocol.is_valid_type(value):
        raise ValidationError(
            _(
                "“%(value)s” is not a message type: a small letter first, then small letters, "
                "digits, “_” and “.”, 64 characters at most, none of the protocol's own types."
            ),
            params={"value": value},
        )


def validate_url(value: str) -> None:
    if not protocol.is_safe_url(value):
        raise ValidationError(
            _("“%(value)s” must be an http(s) address or a path on this site."),
            params={"value": value},
        )


class Level(models.TextChoices):
    INFO = "info", _("Info")
    SUCCESS = "success", _("Success")
    WARNING = "warning", _("Warning")
    ERROR = "error", _("Error")


class State(models.TextChoices):
    """What an item is to the account that has it."""

    UNREAD = "unread", _("Unread")
    READ = "read", _("Read")
    ARCHIVED = "archived", _("Archived")
    GONE = "gone", _("Gone")


class JSONValueField(models.JSONField):
    """A JSONField that stores None as JSON's null, which is a value like any other."""

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        if value is None:
            return connection.ops.adapt_json_value(None, self.encoder)
        return super().get_db_prep_save(value, connection)

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs


class Message(models.Model):
    """What a notification and a broadcast have in common: the message and its numbers."""

    type = models.CharField(_("type"), max_length=64, validators=[validate_type])
    body = models.TextField(_("body"))
    meta_data = JSONValueField(_("meta data"), default=str, blank=True)
    url = models.CharField(
        _("link"), max_length=protocol.MAX_URL_LENGTH, blank=True, validators=[validate_url]
    )
    level = models.CharField(_("level"), max_length=7, choices=Level.choices, default=Level.INFO)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    # Given together after the commit: `number` once, for the order of lists;
    # `seq` again with every change, for the order of changes.
    number = models.PositiveBigIntegerField(null=True, editable=False)
    seq = models.PositiveBigIntegerField(null=True, editable=False)
    # Retracted, expired or replaced: in no list any more, but a change to be told.
    gone_at = models.DateTimeField(null=True, editable=False)

    wire_prefix: ClassVar[str]

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.type}: {self.body[:80]}"

    @property
    def wire_id(self) -> str:
        """The id that clients know: opaque to them, unique over both kinds."""
        return f"{self.wire_prefix}{self.pk}"

    def frame(self, state: str = State.UNREAD, **numbers: Any) -> protocol.Frame:
        """Return the message as clients get it, over the socket and over HTTP."""
        return protocol.frame(
            self.type,
            self.body,
            self.meta_data,
            id=self.wire_id,
            number=self.number,
            **numbers,
            state=str(state),
            level=self.level,
            url=self.url,
            created_at=self.created_at.isoformat(),
            expires_at=self.expires_at and self.expires_at.isoformat(),
        )


# Nothing is archived without being read.
IS_SETTLED: Final = models.Q(read_at__isnull=False) | models.Q(gone_at__isnull=False)
SETTLED_AT: Final = Coalesce("gone_at", "archived_at", "read_at")


class NotificationQuerySet(models.QuerySet["Notification"]):
    def unnumbered(self) -> NotificationQuerySet:
        """Committed but not yet in any inbox: their numbers are still to come."""
        return self.filter(seq=None)

    def present(self) -> NotificationQuerySet:
        return self.filter(seq__isnull=False, gone_at=None)

    def in_inbox(self) -> NotificationQuerySet:
        return self.present().filter(archived_at=None)

    def unread(self) -> NotificationQuerySet:
        return self.in_inbox().filter(read_at=None)

    def settled(self) -> NotificationQuerySet:
        """Read, archived or gone, with the time of the last of these as `settled_at`."""
        return self.filter(IS_SETTLED).annotate(settled_at=SETTLED_AT)

    def insert(self, account_ids: Sequence[Any], **values: Any) -> list[int]:
        """
        Insert one equal row per account in one statement; return the new rows' ids.

        Accounts that have a row with the same idempotency key get none. One
        statement because ids of `bulk_create(ignore_conflicts=True)` are lost.
        """
        connection = connections[self.db]
        row = Notification(**values)
        fields = [
            field
            for field in Notification._meta.concrete_fields
            if not field.primary_key and field.name != "account"
        ]
        account = Notification._meta.get_field("account")
        accounts = one_of(account_ids, account, self.db)
        quote: Callable[[Any], str] = connection.ops.quote_name
        columns = ", ".join(quote(field.column) for field in fields)
        # PostgreSQL takes an untyped value in a SELECT for text; SQLite has no such types.
        placeholders = ", ".join(
            f"CAST(%s AS {field.cast_db_type(connection)})"
            if connection.vendor == "postgresql"
            else "%s"
            for field in fields
        )
        statement = (
            f"INSERT INTO {quote(Notification._meta.db_table)} "
            f"({quote(account.column)}, {columns}) "
            f"SELECT account.key, {placeholders} "
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


class Notification(Message):
    """One line of one account's inbox."""

    wire_prefix = "n"

    account = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_index=False,
    )
    idempotency_key = models.CharField(max_length=200, null=True, editable=False)  # noqa: DJ001  unique
    replace_key = models.CharField(max_length=200, blank=True, editable=False)
    # The notification whose place this one took.
    replaces = models.BigIntegerField(null=True, editable=False)
    read_at = models.DateTimeField(null=True, editable=False)
    archived_at = models.DateTimeField(null=True, editable=False)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        constraints = [
            models.UniqueConstraint(
                fields=["account", "idempotency_key"],
                condition=models.Q(idempotency_key__isnull=False),
                name="notifications_once_per_key",
            ),
            # A row enters these with its numbers, not twice.
            models.UniqueConstraint(
                fields=["account", "seq"],
                condition=models.Q(seq__isnull=False),
                name="notifications_one_per_seq",
            ),
        ]
        indexes = [
            models.Index(
                fields=["account", "-number"],
                condition=models.Q(seq__isnull=False, gone_at=None, archived_at=None),
                name="notifications_page",
            ),
            models.Index(
                fields=["account", "-number"],
                condition=models.Q(seq__isnull=False, gone_at=None, archived_at=None, read_at=None),
                name="notifications_unread",
            ),
            models.Index(
                fields=["account", "id"],
                condition=models.Q(seq=None),
                name="notifications_unnumbered",
            ),
            models.Index(
                fields=["expires_at"],
                condition=models.Q(expires_at__isnull=False, gone_at=None),
                name="notifications_expiring",
            ),
            models.Index(
                fields=["account", "replace_key"],
                condition=models.Q(read_at=None, gone_at=None) & ~models.Q(replace_key=""),
                name="notifications_replaceable",
            ),
            # For retention: a row with a number is in one of them.
            models.Index(
                fields=["type", "created_at"],
                condition=models.Q(seq__isnull=False, gone_at=None, archived_at=None, read_at=None),
                name="notifications_ageing",
            ),
            models.Index("type", SETTLED_AT, condition=IS_SETTLED, name="notifications_settled"),
        ]

    @property
    def state(self) -> State:
        if self.gone_at:
            return State.GONE
        if self.archived_at:
            return State.ARCHIVED
        return State.READ if self.read_at else State.UNREAD

    def frame(self, state: str = "", **numbers: Any) -> protocol.Frame:
        replaces = None if self.replaces is None else f"{self.wire_prefix}{self.replaces}"
        return {**super().frame(state or self.state, seq=self.seq, **numbers), "replaces": replaces}


class BroadcastQuerySet(models.QuerySet["Broadcast"]):
    def unnumbered(self) -> BroadcastQuerySet:
        return self.filter(seq=None)

    def present(self) -> BroadcastQuerySet:
        return self.filter(seq__isnull=False, gone_at=None)

    def gone(self) -> BroadcastQuerySet:
        return self.filter(gone_at__isnull=False)

    def addressed_to(self, reader: audiences.Reader) -> BroadcastQuerySet:
        """The numbered broadcasts, gone ones as well, that were sent to this account."""
        mine = self.filter(seq__isnull=False, audience__in=reader.audiences)
        return mine.filter(created_at__gte=reader.since) if reader.since else mine

    def in_inbox(self, reader: audiences.Reader) -> BroadcastQuerySet:
        return self._without(models.Q(archived_at__isnull=False), reader)

    def unread(self, reader: audiences.Reader) -> BroadcastQuerySet:
        acted_on = models.Q(archived_at__isnull=False) | models.Q(read_at__isnull=False)
        return self._without(acted_on, reader)

    def _without(self, receipts: models.Q, reader: audiences.Reader) -> BroadcastQuerySet:
        mine = reader_receipts(reader).filter(receipts)
        return self.addressed_to(reader).filter(gone_at=None).exclude(models.Exists(mine))


def reader_receipts(reader: audiences.Reader) -> models.QuerySet[BroadcastReceipt]:
    return BroadcastReceipt.objects.filter(
        broadcast=models.OuterRef("pk"), account_id=reader.account_id
    )


class Broadcast(Message):
    """One message to an audience, in one row however many accounts that is."""

    wire_prefix = "b"

    audience = models.CharField(_("audience"), max_length=40, default=audiences.EVERYONE)
    sent_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("sent by"),
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        editable=False,
        related_name="+",
    )

    objects = BroadcastQuerySet.as_manager()

    class Meta:
        verbose_name = _("broadcast")
        verbose_name_plural = _("broadcasts")
        permissions = [("send_broadcast", _("Can send a broadcast"))]
        constraints = [
            models.UniqueConstraint(fields=["seq"], name="broadcasts_one_per_seq"),
        ]
        indexes = [
            models.Index(
                fields=["audience", "-number"],
                condition=models.Q(gone_at=None),
                name="broadcasts_page",
            ),
            models.Index(fields=["id"], condition=models.Q(seq=None), name="broadcasts_unnumbered"),
            models.Index(
                fields=["type", "created_at"],
                condition=models.Q(seq__isnull=False, gone_at=None),
                name="broadcasts_ageing",
            ),
            models.Index(
                fields=["type", "gone_at"],
                condition=models.Q(gone_at__isnull=False),
                name="broadcasts_gone",
            ),
        ]

    @property
    def audience_name(self) -> str:
        """The audience in words, also when its group has been deleted since."""
        if (pk := audiences.group_id(self.audience)) is None:
            return str({"everyone": _("Everyone"), "staff": _("Staff")}[self.audience])
        group = Group.objects.filter(pk=pk).first()
        return group.name if group else str(_("deleted group %(pk)s") % {"pk": pk})

    def frame(self, state: str = State.UNREAD, **numbers: Any) -> protocol.Frame:
        return super().frame(
            State.GONE if self.gone_at else state, broadcast_seq=self.seq, **numbers
        )


class BroadcastReceipt(models.Model):
    """What one account did with one broadcast; without a row it is unread."""

    broadcast = models.ForeignKey(Broadcast, on_delete=models.CASCADE, related_name="receipts")
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_index=False,
    )
    read_at = models.DateTimeField(null=True)
    archived_at = models.DateTimeField(null=True)
    seq = models.PositiveBigIntegerField()  # a change of the account's inbox, not of the broadcast

    class Meta:
        verbose_name = _("broadcast receipt")
        verbose_name_plural = _("broadcast receipts")
        constraints = [
            models.UniqueConstraint(fields=["broadcast", "account"], name="receipts_one_each"),
            models.UniqueConstraint(fields=["account", "seq"], name="receipts_one_per_seq"),
        ]

    def __str__(self) -> str:
        return f"{self.broadcast_id} by {self.account_id}: {self.state}"

    @property
    def wire_id(self) -> str:
        """The id of the broadcast: a receipt is a change of that item."""
        return f"{Broadcast.wire_prefix}{self.broadcast_id}"

    @property
    def state(self) -> State:
        if self.archived_at:
            return State.ARCHIVED
        return State.READ if self.read_at else State.UNREAD


@dataclass(slots=True)
class LockedInbox:
    """An inbox's row while it is locked; `update_rows` saves it. No model, there are many."""

    account_id: Any
    seq: int
    unread: int
    floor: int

    def next_seq(self) -> int:
        """Give the next change its number."""
        self.seq += 1
        return self.seq


class InboxQuerySet(models.QuerySet["Inbox"]):
    def lock(self, account_ids: Iterable[Any]) -> dict[Any, LockedInbox]:
        """
        Return the accounts' inboxes, locked until the transaction ends.

        Always in primary-key order, so that two who lock several don't wait for
        each other; only where one is missing, which is then made, they may.
        """
        keys = sorted(set(account_ids))
        wanted = one_of(keys, Inbox._meta.get_field("account"), self.db)
        rows = self.select_for_update().filter(pk__in=wanted).order_by("pk")
        locked = rows.values_list("account_id", "seq", "unread", "floor")
        inboxes = {row[0]: LockedInbox(*row) for row in locked}
        if len(inboxes) < len(keys):
            self._insert_missing(wanted)
            inboxes = {row[0]: LockedInbox(*row) for row in locked.all()}
        return inboxes

    def _insert_missing(self, account_ids: RawSQL) -> None:
        quote: Callable[[str], str] = connections[self.db].ops.quote_name
        account = Inbox._meta.get_field("account")
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {quote(Inbox._meta.db_table)} "
                f"({quote(account.column)}, seq, unread, floor) "
                f"SELECT missing.key, 0, 0, 0 FROM ({account_ids.sql}) AS missing WHERE true "
                "ON CONFLICT DO NOTHING",
                account_ids.params,
            )


class Inbox(models.Model):
    """One account's numbers; whoever changes the inbox locks this row first."""

    account = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        primary_key=True,
        related_name="+",
    )
    seq = models.PositiveBigIntegerField(default=0)  # of the newest change
    unread = models.PositiveIntegerField(default=0)  # notifications, without broadcasts
    floor = models.PositiveBigIntegerField(default=0)  # changes up to it may be deleted

    objects = InboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("inbox")
        verbose_name_plural = _("inboxes")

    def __str__(self) -> str:
        return f"Inbox of {self.account_id}"


class BroadcastHeadQuerySet(models.QuerySet["BroadcastHead"]):
    def current(self) -> BroadcastHead:
        return self.filter(pk=BroadcastHead.ONLY).first() or BroadcastHead(pk=BroadcastHead.ONLY)

    def lock(self) -> BroadcastHead:
        self.bulk_create([BroadcastHead(pk=BroadcastHead.ONLY)], ignore_conflicts=True)
        return self.select_for_update().get(pk=BroadcastHead.ONLY)


class BroadcastHead(models.Model):
    """The broadcasts' own numbers, in one row, and the epoch of all numbers."""

    ONLY = 1

    seq = models.PositiveBigIntegerField(default=0)
    floor = models.PositiveBigIntegerField(default=0)
    # Another one after the database was restored: older cursors mean nothing.
    epoch = models.PositiveBigIntegerField(default=1)

    objects = BroadcastHeadQuerySet.as_manager()

    def __str__(self) -> str:
        return f"Broadcasts up to {self.seq}"


class WorkerQuerySet(models.QuerySet["Worker"]):
    def alive(self) -> WorkerQuerySet:
        """Workers whose lease runs, by the database's clock: no two hosts' clocks agree."""
        return self.filter(lease_until__gt=Now())

    def dead(self) -> WorkerQuerySet:
        return self.filter(lease_until__lte=Now())


class Worker(models.Model):
    """One server process; its connections count as long as it renews its lease."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    host = models.CharField(_("host"), max_length=255)
    pid = models.PositiveIntegerField(_("process"))
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    lease_until = models.DateTimeField(_("lease until"), default=timezone.now)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def live(self) -> ConnectionQuerySet:
        return self.filter(worker__lease_until__gt=Now())

    def overdue(self) -> ConnectionQuerySet:
        """Rows that their worker, itself alive, should have closed long ago."""
        slack = timedelta(seconds=60 + 2 * conf.HEARTBEAT_TIMEOUT)
        return self.live().filter(last_seen__lt=Now() - slack)


class Connection(models.Model):
    """One open socket: a browser tab, or a device."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    worker = models.ForeignKey(Worker, verbose_name=_("worker"), on_delete=models.CASCADE)
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("account"),
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
    )
    opened_at = models.DateTimeField(_("opened"), default=timezone.now)
    last_seen = models.DateTimeField(_("last seen"), default=timezone.now)  # to the minute
    user_agent = models.CharField(_("browser"), max_length=200, blank=True)
    address = models.GenericIPAddressField(_("address"), null=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")

    def __str__(self) -> str:
        return str(self.id)


class MaintenanceLease(models.Model):
    """Whose turn it is: one row lets one process run the periodic task per interval."""

    ONLY = 1

    expires_at = models.DateTimeField()  # nobody else starts a pass before
    passed_at = models.DateTimeField(null=True)  # the end of the last complete pass

    def __str__(self) -> str:
        return f"Last pass {self.passed_at}"
