"""Fill the tables with any number of notifications, by SQL."""

from __future__ import annotations

from typing import Final

from harness.accounts import UNUSABLE_PASSWORD

ROWS_PER_ACCOUNT: Final = 10
BUSY_ACCOUNT: Final = 1  # has many more
BUSY_ROWS: Final = 10_000
BROADCASTS: Final = 1000  # in inboxes; another 1000 are removed
RECEIPTS: Final = 3  # of each account
ACTIVE_ACCOUNTS: Final = 1000  # the first accounts, which have more receipts
ACTIVE_RECEIPTS: Final = 200


def fill(rows: int) -> None:
    """Empty all tables; create this many notifications and a tenth as many accounts."""
    from django.db import connection

    from notifications.models import BroadcastReceipt, Notification

    accounts = rows // ROWS_PER_ACCOUNT
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        emptied = [name for name in tables if name.startswith(("site_notifications_", "auth_"))]
        cursor.execute(f"TRUNCATE {', '.join(emptied)} RESTART IDENTITY CASCADE")
        with connection.schema_editor(atomic=False) as editor:
            # Building indexes afterwards is faster than keeping them up to date.
            for model in (Notification, BroadcastReceipt):
                for index in model._meta.indexes:
                    editor.remove_index(model, index)
                for constraint in model._meta.constraints:
                    editor.remove_constraint(model, constraint)
            cursor.execute(_accounts(accounts))
            cursor.execute(_notifications(rows, accounts))
            cursor.execute(_broadcasts(accounts))
            cursor.execute(_inboxes())
            for model in (Notification, BroadcastReceipt):
                for index in model._meta.indexes:
                    editor.add_index(model, index)
                for constraint in model._meta.constraints:
                    editor.add_constraint(model, constraint)
        cursor.execute("VACUUM ANALYZE")


def _accounts(accounts: int) -> str:
    return f"""
        INSERT INTO auth_user
            (id, username, password, is_superuser, is_staff, is_active, first_name, last_name,
             email, date_joined)
        SELECT key, 'account' || key, '{UNUSABLE_PASSWORD}', false, key % 1000 = 0, true, '', '',
               '', now() - interval '1 day' * (CASE WHEN key % 10 = 0 THEN 45 ELSE 100 END)
        FROM generate_series(1, {accounts}) AS key;

        INSERT INTO auth_group (id, name) VALUES (1, 'customers');
        INSERT INTO auth_user_groups (user_id, group_id)
        SELECT key, 1 FROM generate_series(1, {accounts}, 7) AS key;
    """


def _notifications(rows: int, accounts: int) -> str:
    """Rows are in order of time, as in a grown table, so one account's rows are far apart."""
    return f"""
        SELECT setseed(0.5);
        INSERT INTO site_notifications_notification
            (account_id, type, body, meta_data, url, level, created_at, expires_at, number, seq,
             idempotency_key, replace_key, read_at, archived_at)
        SELECT account, 'order_paid', 'Order ' || i || ' of the benchmark is paid',
               jsonb_build_object('order_id', i), '/orders/' || i || '/', 'info', at,
               CASE WHEN luck < 0.02 THEN now() + interval '30 days' END, number, number,
               CASE WHEN luck < 0.1 THEN 'order-' || i END,
               CASE WHEN luck < 0.05 THEN 'order-' || i ELSE '' END,
               CASE WHEN luck > 0.3 THEN at + interval '1 hour' END,
               CASE WHEN luck > 0.95 THEN at + interval '1 hour' END
        FROM (
            SELECT i, 1 + i % {accounts} AS account, 1 + i / {accounts} AS number,
                   random() AS luck, now() - interval '90 days' * (1 - i::float / {rows}) AS at
            FROM generate_series(0, {rows - 1}) AS i
            UNION ALL
            SELECT i, {BUSY_ACCOUNT}, {ROWS_PER_ACCOUNT} + i, 0.2, now()
            FROM generate_series(1, {BUSY_ROWS}) AS i
        ) AS made
    """


def _broadcasts(accounts: int) -> str:
    """With receipts for broadcasts that every account gets."""
    return f"""
        INSERT INTO site_notifications_broadcast
            (id, type, body, meta_data, url, level, audience, created_at, number, seq, removed_at)
        SELECT i, 'news', 'News ' || i, '""', '', 'info',
               CASE i % 20 WHEN 0 THEN 'staff' WHEN 10 THEN 'group:1' ELSE 'everyone' END,
               at, i, i, CASE WHEN i % 2 = 1 THEN at END
        FROM (
            SELECT i, now() - interval '90 days' * (1 - i::float / {2 * BROADCASTS}) AS at
            FROM generate_series(1, {2 * BROADCASTS}) AS i
        ) AS made;
        INSERT INTO site_notifications_broadcastsequence (id, seq, floor, epoch)
        VALUES (1, {2 * BROADCASTS}, 0, 1);

        INSERT INTO site_notifications_broadcastreceipt (broadcast_id, account_id, read_at, seq)
        SELECT {BROADCASTS} + 10 * (k / 4) + 2 + 2 * (k % 4), account, now(),
               {ROWS_PER_ACCOUNT} + n + CASE account WHEN {BUSY_ACCOUNT} THEN {BUSY_ROWS} ELSE 0 END
        FROM generate_series(1, {accounts}) AS account,
             generate_series(1, CASE WHEN account <= {ACTIVE_ACCOUNTS} THEN {ACTIVE_RECEIPTS}
                                ELSE {RECEIPTS} END) AS n,
             LATERAL (SELECT (account + n) % {4 * BROADCASTS // 10} AS k) AS chosen
    """


def _inboxes() -> str:
    return """
        INSERT INTO site_notifications_inbox (account_id, seq, unread, floor)
        SELECT account_id, max(seq), sum(unread), 0
        FROM (
            SELECT account_id, max(seq) AS seq,
                   count(*) FILTER (WHERE read_at IS NULL AND archived_at IS NULL) AS unread
            FROM site_notifications_notification GROUP BY account_id
            UNION ALL
            SELECT account_id, max(seq), 0
            FROM site_notifications_broadcastreceipt GROUP BY account_id
        ) AS numbered
        GROUP BY account_id
    """
