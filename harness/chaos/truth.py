"""The database's final state, read with plain SQL, independent of the code under test."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

NOTIFICATIONS: Final = """
SELECT 'n' || id, account_id, body, number, CASE
    WHEN removed_at IS NOT NULL THEN 'gone'
    WHEN archived_at IS NOT NULL THEN 'archived'
    WHEN read_at IS NOT NULL THEN 'read'
    ELSE 'unread' END
FROM site_notifications_notification
"""
BROADCASTS: Final = """
SELECT 'b' || b.id, u.id, b.body, b.number, CASE
    WHEN b.removed_at IS NOT NULL THEN 'gone'
    WHEN r.archived_at IS NOT NULL THEN 'archived'
    WHEN r.read_at IS NOT NULL THEN 'read'
    ELSE 'unread' END
FROM site_notifications_broadcast b
JOIN auth_user u ON b.created_at >= u.date_joined AND (
    b.audience = 'everyone'
    OR b.audience = 'staff' AND u.is_staff
    OR EXISTS (SELECT 1 FROM auth_user_groups g
               WHERE g.user_id = u.id AND b.audience = 'group:' || g.group_id))
LEFT JOIN site_notifications_broadcastreceipt r ON r.broadcast_id = b.id AND r.account_id = u.id
"""
AUDIENCES: Final = """
SELECT id, array_remove(array['everyone', CASE WHEN is_staff THEN 'staff' END] || array(
    SELECT 'group:' || group_id FROM auth_user_groups g WHERE g.user_id = u.id), NULL)
FROM auth_user u
"""
BODIES: Final = "SELECT 'b' || id, body FROM site_notifications_broadcast"
UNREAD: Final = "SELECT account_id, unread FROM site_notifications_inbox"
# Committed without a number, or expired or retracted but not removed.
UNFINISHED: Final = """
SELECT (SELECT count(*) FROM site_notifications_notification
        WHERE seq IS NULL OR removed_at IS NULL AND expires_at IS NOT NULL)
     + (SELECT count(*) FROM site_notifications_broadcast
        WHERE seq IS NULL OR removed_at IS NULL AND expires_at IS NOT NULL)
     + (SELECT count(*) FROM site_notifications_retraction)
"""


@dataclass(frozen=True, slots=True)
class Row:
    body: str
    number: int | None
    state: str


@dataclass
class Truth:
    """Rows by account and wire id; a broadcast is listed for each recipient."""

    rows: dict[int, dict[str, Row]] = field(default_factory=lambda: defaultdict(dict))
    unread: dict[int, int] = field(default_factory=dict)  # of notifications, by the inbox's counter
    broadcasts: dict[str, str] = field(
        default_factory=dict
    )  # bodies, also of those without recipients
    audiences: dict[int, frozenset[str]] = field(default_factory=dict)  # by account

    def in_inbox(self, account: int) -> dict[str, str]:
        rows = self.rows[account].items()
        return {wire_id: row.state for wire_id, row in rows if row.state in {"unread", "read"}}

    def count_unread(self, account: int, kind: str) -> int:
        rows = self.rows[account].items()
        return sum(row.state == "unread" and wire_id[0] == kind for wire_id, row in rows)


def count_unfinished(connection: psycopg.Connection) -> int:
    return _one(connection, UNFINISHED)


def read(connection: psycopg.Connection) -> Truth:
    truth = Truth()
    for query in (NOTIFICATIONS, BROADCASTS):
        for wire_id, account, body, number, state in connection.execute(query):
            truth.rows[account][wire_id] = Row(body, number, state)
    truth.unread = dict(connection.execute(UNREAD).fetchall())
    truth.broadcasts = dict(connection.execute(BODIES).fetchall())
    for account, audiences in connection.execute(AUDIENCES):
        truth.audiences[account] = frozenset(audiences)
    return truth


def _one(connection: psycopg.Connection, query: Any) -> int:
    row = connection.execute(query).fetchone()
    assert row
    return int(row[0])
