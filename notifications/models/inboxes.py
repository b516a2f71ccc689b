"""The change numbers of each account's inbox, and those of broadcasts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connections, models
from django.db.models.expressions import RawSQL
from django.utils.translation import gettext_lazy as _

from notifications.db import times
from notifications.db.bulk import is_one_of, one_of, update_rows
from notifications.db.functions import EpochSeconds, RandomHex

from .ends import AccountEnded
from .lives import finish_ends
from .notifications import Notification


@dataclass(slots=True)
class LockedInbox:
    """A locked Inbox row, saved by `update_rows`. Not a model instance, as there are many."""

    account_id: Any
    seq: int
    unread: int
    floor: int
    ended_upto: int = 0  # the last id of a notification of the account's earlier lives

    def next_seq(self) -> int:
        """Return the number of the next change."""
        self.seq += 1
        return self.seq


class InboxQuerySet(models.QuerySet["Inbox"]):
    def with_pending(self) -> InboxQuerySet:
        """With `pending`: 1 if what an earlier life left may still be there, otherwise 0."""
        # Not Exists, as Django takes longer to write that than the database to answer.
        ends = AccountEnded._meta
        where = self._matches(ends.get_field("account"))
        return self.annotate(
            pending=RawSQL(
                f"CAST(EXISTS (SELECT 1 FROM {self._quote(ends.db_table)} AS other "
                f"WHERE {where} AND other.finished_at IS NULL) AS integer)",
                [],
                output_field=models.IntegerField(),
            )
        )

    def with_first(self) -> InboxQuerySet:
        """With `first`: when the notification was created that has the lowest change number."""
        notifications = Notification._meta
        where = self._matches(notifications.get_field("account"))
        return self.annotate(
            first=RawSQL(
                f"(SELECT created_at FROM {self._quote(notifications.db_table)} AS other "
                f"WHERE {where} AND seq IS NOT NULL ORDER BY seq LIMIT 1)",
                [],
                output_field=times.TimeField(),
            )
        )

    def _matches(self, account: Any) -> str:
        """Return the SQL for rows of `other` that are of the inbox's account."""
        column = self._quote(Inbox._meta.get_field("account").column)
        inbox = self._quote(Inbox._meta.db_table)
        return f"other.{self._quote(account.column)} = {inbox}.{column}"

    def _quote(self, name: str) -> str:
        quoted: str = connections[self.db].ops.quote_name(name)
        return quoted

    def lock(self, account_ids: Iterable[Any], *, waits: bool = True) -> dict[Any, LockedInbox]:
        """
        Return the accounts' inboxes, locked until the transaction ends; missing ones are inserted.

        waits: False leaves out those that others have locked.

        Rows are locked in primary-key order, so that two callers that lock several
        inboxes don't deadlock. Only inserting missing ones still can.

        What earlier lives of the accounts left is deleted, so that callers never meet it.
        """
        keys = sorted(set(account_ids))
        wanted = one_of(keys, Inbox._meta.get_field("account"), self.db)
        rows = self.select_for_update(skip_locked=not waits).filter(pk__in=wanted).order_by("pk")
        locked = rows.values_list("account_id", "seq", "unread", "floor")
        inboxes = {row[0]: LockedInbox(*row) for row in locked}
        if len(inboxes) < len(keys):
            self._insert_missing(wanted)
            inboxes = {row[0]: LockedInbox(*row) for row in locked.all()}
        if AccountEnded.objects.using(self.db).has_any_of(wanted):
            self._finish_ends(inboxes)
        return inboxes

    def lock_free(self, account_ids: Iterable[Any]) -> dict[Any, LockedInbox]:
        """Lock those of these inboxes that exist and nobody else has locked; finish no ends."""
        wanted = is_one_of("pk", sorted(account_ids), Inbox._meta.get_field("account"), self.db)
        rows = self.select_for_update(skip_locked=True).filter(wanted).order_by("pk")
        locked = rows.values_list("account_id", "seq", "unread", "floor")
        return {row[0]: LockedInbox(*row) for row in locked}

    def _finish_ends(self, inboxes: dict[Any, LockedInbox]) -> None:
        finished = finish_ends(inboxes, self.db) or set()
        wanted = one_of([*inboxes], AccountEnded._meta.get_field("account"), self.db)
        ends = AccountEnded.objects.using(self.db).filter(account_id__in=wanted)
        for account_id, upto in ends.values_list("account_id").annotate(
            models.Max("notifications_upto")
        ):
            inboxes[account_id].ended_upto = upto
        self.begin_anew([inboxes[account_id] for account_id in sorted(finished)])

    def begin_anew(self, inboxes: Sequence[LockedInbox]) -> None:
        """Count what these have, so that no position of an earlier life can be followed."""
        if not inboxes:
            return
        keys = [inbox.account_id for inbox in inboxes]
        own = is_one_of("account_id", keys, Notification._meta.get_field("account"), self.db)
        unread = Notification.objects.using(self.db).unread().filter(own)
        counts = dict(unread.values_list("account_id").annotate(models.Count("pk")))
        for inbox in inboxes:
            inbox.unread = counts.get(inbox.account_id, 0)
            inbox.floor = inbox.next_seq()
        update_rows(Inbox, inboxes, ["seq", "unread", "floor"], self.db)

    def _insert_missing(self, account_ids: RawSQL) -> None:
        account = Inbox._meta.get_field("account")
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self._quote(Inbox._meta.db_table)} "
                f"({self._quote(account.column)}, seq, unread, floor) "
                f"SELECT missing.key, 0, 0, 0 FROM ({account_ids.sql}) AS missing WHERE true "
                "ON CONFLICT DO NOTHING",
                account_ids.params,
            )


class Inbox(models.Model):
    """One account's change numbers. This row is locked before anything in the inbox changes."""

    account = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        primary_key=True,
        related_name="+",
    )
    seq = models.PositiveBigIntegerField(default=0)  # of the latest change
    unread = models.PositiveIntegerField(default=0)  # notifications, not broadcasts
    floor = models.PositiveBigIntegerField(default=0)  # changes up to it may have been deleted

    objects = InboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("inbox")
        verbose_name_plural = _("inboxes")

    def __str__(self) -> str:
        return f"Inbox of {self.account_id}"


class BroadcastSequenceQuerySet(models.QuerySet["BroadcastSequence"]):
    def current(self) -> BroadcastSequence:
        return self.filter(pk=BroadcastSequence.ONLY).first() or BroadcastSequence(
            pk=BroadcastSequence.ONLY
        )

    def lock(self) -> BroadcastSequence:
        self.create_missing()
        return self.select_for_update().get(pk=BroadcastSequence.ONLY)

    def lock_if_free(self) -> BroadcastSequence | None:
        """Return the row, locked, or None if others have locked it."""
        self.create_missing()
        return self.select_for_update(skip_locked=True).filter(pk=BroadcastSequence.ONLY).first()

    def create_missing(self) -> None:
        self.bulk_create([BroadcastSequence(pk=BroadcastSequence.ONLY)], ignore_conflicts=True)

    def site_and_time(self) -> tuple[str, float]:
        """Return the site's name, and the database's time in seconds since 1970."""
        values = self.filter(pk=BroadcastSequence.ONLY).values_list("site", EpochSeconds())
        if not (row := values.first()):
            self.create_missing()
            row = values.get()
        name, seconds = row
        return str(name), float(seconds)


class BroadcastSequence(models.Model):
    """The single row of the site: the change numbers of broadcasts, and the epoch of all."""

    ONLY = 1

    seq = models.PositiveBigIntegerField(default=0)
    floor = models.PositiveBigIntegerField(default=0)
    # Changed after the database was restored, which makes older positions meaningless.
    epoch = models.PositiveBigIntegerField(default=1)
    # A random name, in what is signed. The database makes it, as older releases insert no name.
    site = models.CharField(max_length=32, editable=False, db_default=RandomHex())

    objects = BroadcastSequenceQuerySet.as_manager()

    def __str__(self) -> str:
        return f"Broadcasts up to {self.seq}"
