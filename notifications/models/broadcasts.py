"""Broadcasts, one row each for an audience of any size, and the receipts of accounts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.utils.translation import gettext_lazy as _

from notifications import audiences, protocol
from notifications.db import times

from .message import Level, Message, State


class BroadcastQuerySet(models.QuerySet["Broadcast"]):
    def unnumbered(self) -> BroadcastQuerySet:
        return self.filter(seq=None)

    def present(self) -> BroadcastQuerySet:
        return self.filter(seq__isnull=False, removed_at=None)

    def removed(self) -> BroadcastQuerySet:
        return self.filter(removed_at__isnull=False)

    def addressed_to(self, recipient: audiences.Recipient) -> BroadcastQuerySet:
        """The numbered broadcasts, removed ones included, that were sent to this account."""
        mine = self.filter(seq__isnull=False, audience__in=recipient.audiences)
        return mine.filter(created_at__gte=recipient.since) if recipient.since else mine

    def in_inbox(self, recipient: audiences.Recipient) -> BroadcastQuerySet:
        return self._without(models.Q(archived_at__isnull=False), recipient)

    def unread(self, recipient: audiences.Recipient) -> BroadcastQuerySet:
        acted_on = models.Q(archived_at__isnull=False) | models.Q(read_at__isnull=False)
        return self._without(acted_on, recipient)

    def archived(self, recipient: audiences.Recipient) -> BroadcastQuerySet:
        mine = receipts_of(recipient).filter(archived_at__isnull=False)
        return self.addressed_to(recipient).filter(models.Exists(mine), removed_at=None)

    def important(self, recipient: audiences.Recipient) -> BroadcastQuerySet:
        """The broadcasts that the banner shows until they are read."""
        return self.unread(recipient).filter(level__in=(Level.WARNING, Level.ERROR))

    def _without(self, receipts: models.Q, recipient: audiences.Recipient) -> BroadcastQuerySet:
        mine = receipts_of(recipient).filter(receipts)
        return self.addressed_to(recipient).filter(removed_at=None).exclude(models.Exists(mine))


def receipts_of(recipient: audiences.Recipient) -> models.QuerySet[BroadcastReceipt]:
    return BroadcastReceipt.objects.filter(
        broadcast=models.OuterRef("pk"), account_id=recipient.account_id
    )


class Broadcast(Message):
    """One message to all accounts of an audience."""

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
    # How many accounts it was sent to. Unknown if the process ended before it could count them,
    # or was of release 0.2.0.
    audience_size = models.PositiveIntegerField(null=True, editable=False)

    objects = BroadcastQuerySet.as_manager()

    class Meta:
        verbose_name = _("broadcast")
        verbose_name_plural = _("broadcasts")
        permissions = [("send_broadcast", _("Can send a broadcast"))]
        constraints = [
            models.UniqueConstraint(fields=["seq"], name="site_broadcasts_one_per_seq"),
        ]
        indexes = [
            models.Index(
                fields=["audience", "-number"],
                condition=models.Q(removed_at=None),
                name="site_broadcasts_page",
            ),
            models.Index(
                fields=["id"], condition=models.Q(seq=None), name="site_broadcasts_unnumbered"
            ),
            models.Index(
                fields=["type", "created_at"],
                condition=models.Q(seq__isnull=False, removed_at=None),
                name="site_broadcasts_ageing",
            ),
            models.Index(
                fields=["type", "removed_at"],
                condition=models.Q(removed_at__isnull=False),
                name="site_broadcasts_removed",
            ),
        ]

    @property
    def audience_name(self) -> str:
        """The audience as shown to operators, even if its group has been deleted."""
        if (pk := audiences.group_id(self.audience)) is None:
            return str({"everyone": _("Everyone"), "staff": _("Staff")}[self.audience])
        group = Group.objects.filter(pk=pk).first()
        return group.name if group else str(_("deleted group %(pk)s") % {"pk": pk})

    def frame(self, state: str = State.UNREAD, **numbers: Any) -> protocol.Frame:
        return super().frame(
            State.REMOVED if self.removed_at else state, broadcast_seq=self.seq, **numbers
        )


class BroadcastReceipt(models.Model):
    """Records that an account read or archived a broadcast; without a receipt it is unread."""

    broadcast = models.ForeignKey(Broadcast, on_delete=models.CASCADE, related_name="receipts")
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_index=False,
    )
    read_at = times.TimeField(null=True)
    archived_at = times.TimeField(null=True)
    seq = models.PositiveBigIntegerField()  # in the account's inbox, not among the broadcasts

    class Meta:
        verbose_name = _("broadcast receipt")
        verbose_name_plural = _("broadcast receipts")
        constraints = [
            models.UniqueConstraint(fields=["broadcast", "account"], name="site_receipts_one_each"),
            models.UniqueConstraint(fields=["account", "seq"], name="site_receipts_one_per_seq"),
        ]

    def __str__(self) -> str:
        return f"{self.broadcast_id} by {self.account_id}: {self.state}"

    @property
    def wire_id(self) -> str:
        """The broadcast's id, as a receipt is a change of that broadcast."""
        return f"{Broadcast.wire_prefix}{self.broadcast_id}"

    @property
    def state(self) -> State:
        if self.archived_at:
            return State.ARCHIVED
        return State.READ if self.read_at else State.UNREAD
