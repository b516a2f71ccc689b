"""
How many items were unread after each change, as the database records it during a run.

Triggers note every change of a row together with its number. This shows what was committed at each
number; a transaction that is rolled back leaves no trace.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import psycopg

RECORD: Final = """
CREATE TABLE chaos_notification (
    change bigserial, account bigint, id bigint, seq bigint, unread boolean);
CREATE TABLE chaos_receipt (
    change bigserial, account bigint, broadcast bigint, seq bigint, unread boolean);
CREATE TABLE chaos_broadcast (
    change bigserial, id bigint, seq bigint, audience text, created_at timestamptz,
    removed boolean);
CREATE FUNCTION chaos_notification() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    -- Replaced by a row that was numbered together with it: it was unread from its own number on.
    IF OLD.seq IS NULL AND NEW.number < NEW.seq THEN
        INSERT INTO chaos_notification (account, id, seq, unread)
            VALUES (NEW.account_id, NEW.id, NEW.number, true);
    END IF;
    INSERT INTO chaos_notification (account, id, seq, unread) VALUES (NEW.account_id, NEW.id,
        NEW.seq, num_nulls(NEW.read_at, NEW.archived_at, NEW.removed_at) = 3);
    RETURN NULL; END $$;
CREATE FUNCTION chaos_receipt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_receipt (account, broadcast, seq, unread) VALUES (NEW.account_id,
        NEW.broadcast_id, NEW.seq, num_nulls(NEW.read_at, NEW.archived_at) = 2);
    RETURN NULL; END $$;
CREATE FUNCTION chaos_broadcast() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_broadcast (id, seq, audience, created_at, removed) VALUES (NEW.id, NEW.seq,
        NEW.audience, NEW.created_at, NEW.removed_at IS NOT NULL);
    RETURN NULL; END $$;
CREATE TRIGGER chaos AFTER INSERT OR UPDATE ON site_notifications_notification
    FOR EACH ROW WHEN (NEW.seq IS NOT NULL) EXECUTE FUNCTION chaos_notification();
CREATE TRIGGER chaos AFTER INSERT OR UPDATE ON site_notifications_broadcastreceipt
    FOR EACH ROW EXECUTE FUNCTION chaos_receipt();
CREATE TRIGGER chaos AFTER INSERT OR UPDATE ON site_notifications_broadcast
    FOR EACH ROW WHEN (NEW.seq IS NOT NULL) EXECUTE FUNCTION chaos_broadcast();
"""
NOTIFICATIONS: Final = """
SELECT account, id, seq, unread FROM chaos_notification ORDER BY seq, change
"""
RECEIPTS: Final = "SELECT account, broadcast, seq, unread FROM chaos_receipt ORDER BY seq, change"
# An account receives the broadcasts to its audiences that were created after it.
BROADCASTS: Final = """
SELECT id, audience, created_at, min(seq), min(seq) FILTER (WHERE removed)
FROM chaos_broadcast GROUP BY id, audience, created_at
"""
ACCOUNTS: Final = "SELECT id, date_joined FROM auth_user"


@dataclass(frozen=True, slots=True)
class SentBroadcast:
    id: int
    audience: str
    seq: int
    removed_seq: int | None


@dataclass
class History:
    """Answers how many items of an account were unread at a position."""

    # For each account, change numbers in order, and how many notifications were unread from each.
    unread: dict[int, tuple[list[int], list[int]]] = field(default_factory=dict)
    # For each account, change numbers in order, and the broadcast whose receipt changed to unread
    # or to read.
    receipts: dict[int, list[tuple[int, int, bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    broadcasts: dict[int, list[SentBroadcast]] = field(default_factory=dict)  # by account
    _counted: dict[tuple[int, frozenset[str], int, int], int] = field(default_factory=dict)

    def count(self, account: int, seq: int) -> int:
        """Return how many notifications were unread at this number."""
        seqs, counts = self.unread.get(account, ([], []))
        place = bisect_right(seqs, seq)
        return counts[place - 1] if place else 0

    def count_broadcasts(
        self, account: int, audiences: frozenset[str], seq: int, broadcast_seq: int
    ) -> int:
        """Return how many broadcasts to these audiences were unread at this position."""
        receipts = self.receipts[account]
        place = bisect_right(receipts, (seq, 2**62, True))
        key = (account, audiences, place, broadcast_seq)
        if key not in self._counted:
            read = {broadcast: not unread for _, broadcast, unread in receipts[:place]}
            self._counted[key] = sum(
                each.audience in audiences
                and each.seq <= broadcast_seq
                and (each.removed_seq is None or each.removed_seq > broadcast_seq)
                and not read.get(each.id, False)
                for each in self.broadcasts.get(account, ())
            )
        return self._counted[key]


def read(connection: psycopg.Connection) -> History:
    history = History(unread=_totals(connection.execute(NOTIFICATIONS)))
    for account, broadcast, seq, unread in connection.execute(RECEIPTS):
        history.receipts[account].append((seq, broadcast, unread))
    sent = connection.execute(BROADCASTS).fetchall()
    for account, joined_at in connection.execute(ACCOUNTS):
        history.broadcasts[account] = [
            SentBroadcast(id, audience, seq, removed_seq)
            for id, audience, created_at, seq, removed_seq in sent
            if created_at >= joined_at
        ]
    return history


def _totals(
    changes: Iterable[tuple[int, int, int, bool]],
) -> dict[int, tuple[list[int], list[int]]]:
    states: dict[int, bool] = {}
    totals: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for account, id, seq, unread in changes:
        seqs, counts = totals[account]
        before = counts[-1] if counts else 0
        seqs.append(seq)
        counts.append(before + unread - states.get(id, False))
        states[id] = unread
    return dict(totals)
