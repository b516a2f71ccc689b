"""
The ends of accounts, whose keys may be given to new accounts.

A key may be an e-mail address or a user name. The next account with it must find nothing of the one
before: no row up to the ids that were given out when that one ended (lives.py).
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import connections, models
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from notifications.db import times


class AccountEndedQuerySet(models.QuerySet["AccountEnded"]):
    def pending(self) -> AccountEndedQuerySet:
        """The ends whose rows may still be in the inbox."""
        return self.filter(finished_at=None)

    def has_any_of(self, account_ids: RawSQL) -> bool:
        """
        Whether an earlier account had the key of one of these, which `one_of` returned.

        Not by `exists()`, as Django takes longer to write that than the database to answer.
        """
        quote: Callable[[str], str] = connections[self.db].ops.quote_name
        table, account = AccountEnded._meta.db_table, AccountEnded._meta.get_field("account")
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"SELECT EXISTS (SELECT 1 FROM {quote(table)} "
                f"WHERE {quote(account.column)} IN ({account_ids.sql}))",
                account_ids.params,
            )
            return bool(cursor.fetchone()[0])

    def older_kept(self) -> AccountEndedQuerySet:
        """Those of accounts that may have rows older than themselves, which were moved to them."""
        return self.filter(notifications_upto=0, receipts_upto=0)


class AccountEnded(models.Model):
    """One end of an account. The last one of a key stays for as long as the key is in use."""

    account = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    # The last ids given out until then, also to transactions that commit later.
    notifications_upto = models.PositiveBigIntegerField()
    receipts_upto = models.PositiveBigIntegerField()
    ended_at = times.TimeField(db_default=Now())
    finished_at = times.TimeField(null=True)

    objects = AccountEndedQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.account_id} up to {self.notifications_upto}"
