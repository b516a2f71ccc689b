"""
Times hot queries as the tables grow: `python -m harness.benchmarks.queries`.

For each size, it fills PostgreSQL, times the app's own functions, and checks
the query plan of each of their statements: none may scan a big table.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from harness.benchmarks import inboxes, measure
from harness.plans import plans
from harness.services import DURABLE, postgres_server

SIZES: Final = (10_000, 100_000, 1_000_000, 10_000_000)
BIG_TABLE_ROWS: Final = 100_000  # no plan may scan a table of this size
# For a machine with a few GB for its database; the last two speed up filling it.
POSTGRES_OPTIONS: Final = (
    "--shared_buffers=1GB",
    "--maintenance_work_mem=1GB",
    "--max_wal_size=8GB",
)


@dataclass(frozen=True)
class Query:
    """Times `run`, called with the result of `prepare`."""

    name: str
    run: Callable[[Any], Any]
    prepare: Callable[[], Any] = lambda: None
    repeat: int = 15


def queries(accounts: int) -> Iterator[Query]:
    """Yield the timed queries; those that change most rows come last."""
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.utils import timezone

    from notifications.audiences import Recipient
    from notifications.conf import conf
    from notifications.inbox import marks, pages
    from notifications.inbox.changes import read_changes_of_many
    from notifications.inbox.pages import Position
    from notifications.lifecycle import numbering, retention, retraction
    from notifications.maintenance import Maintenance
    from notifications.models import Inbox, Notification

    rng = random.Random(1)
    maintenance = Maintenance()

    def recipients(keys: Any) -> list[Recipient]:
        return Recipient.of_many(list(get_user_model().objects.filter(pk__in=keys)))

    def someone() -> Recipient:
        return recipients([rng.randint(inboxes.BUSY_ACCOUNT + 1, accounts)])[0]

    def busy() -> Recipient:
        return recipients([inboxes.BUSY_ACCOUNT])[0]

    def keys(count: int, max_key: int = accounts) -> list[int]:
        return rng.sample(range(1, max_key + 1), min(count, max_key))

    def behind(recipients: list[Recipient], changes: int) -> list[tuple[Recipient, Position, int]]:
        return [
            (recipient, replace(latest.position, seq=latest.position.seq - changes), 100)
            for recipient, latest in zip(
                recipients, pages.read_latest_of_many(recipients), strict=True
            )
        ]

    def notified(count: int) -> list[int]:
        found = keys(count)
        Notification.objects.insert(found, type="order_paid", body="Order 12 is paid")
        return found

    def all_notified() -> list[int]:
        if not Notification.objects.unnumbered().exists():
            Notification.objects.insert(
                range(1, accounts + 1), type="order_paid", body="Order 12 is paid"
            )
        return keys(1000)

    def all_unread() -> tuple[Recipient, Position]:
        mine = Notification.objects.filter(account_id=inboxes.BUSY_ACCOUNT)
        mine.update(read_at=None, archived_at=None)
        Inbox.objects.filter(pk=inboxes.BUSY_ACCOUNT).update(unread=mine.count())
        recipient = busy()
        return recipient, pages.read_latest(recipient).position

    def change_1000(**values: Any) -> None:
        found = Notification.objects.in_inbox().filter(account__in=keys(1000))
        chosen = list(found.values_list("pk", flat=True)[:1000])
        Notification.objects.filter(pk__in=chosen).update(**values)

    def due() -> None:
        change_1000(expires_at=timezone.now())

    def outdated() -> None:
        days = (conf.RETENTION_DAYS or 0) + 1
        change_1000(read_at=timezone.now() - datetime.timedelta(days=days))

    def own_item() -> tuple[Recipient, list[str]]:
        recipient = someone()
        row = Notification.objects.unread().filter(account_id=recipient.account_id).first()
        return recipient, [row.wire_id] if row else []

    many = f"{inboxes.BUSY_ROWS:,}"
    deep = f"n{inboxes.BUSY_ROWS // 2}b{inboxes.BROADCASTS}"
    using = connection.alias
    yield Query("page", pages.read_page, someone)
    yield Query(
        "unread page", lambda recipient: pages.read_page(recipient, folder="unread"), someone
    )
    yield Query(f"page of {many}", pages.read_page, busy)
    yield Query(
        f"page in the middle of {many}", lambda recipient: pages.read_page(recipient, deep), busy
    )
    yield Query(
        f"unread page of {many}",
        lambda recipient: pages.read_page(recipient, folder="unread"),
        busy,
    )
    yield Query("position and counts", pages.read_latest, someone)
    yield Query(
        "positions and counts of 500 accounts",
        pages.read_latest_of_many,
        lambda: recipients(keys(500)),
    )
    yield Query(
        f"positions and counts of 500 accounts with {inboxes.ACTIVE_RECEIPTS} receipts each",
        pages.read_latest_of_many,
        lambda: recipients(keys(500, inboxes.ACTIVE_ACCOUNTS)),
    )
    yield Query("latest numbers of 500 accounts", pages.latest_seqs, lambda: keys(500))
    yield Query(
        "10 changes",
        read_changes_of_many,
        lambda: behind([someone()], 10),
    )
    yield Query(
        "100 of 1,000 changes",
        read_changes_of_many,
        lambda: behind([busy()], 1000),
    )
    yield Query(
        "3 changes of each of 500 accounts",
        read_changes_of_many,
        lambda: behind(recipients(keys(500)), 3),
        repeat=3,
    )
    yield Query("maintenance with nothing to do", lambda _: maintenance.run())
    yield Query(
        "numbering 1", lambda keys: numbering.number_and_publish(keys, using), lambda: notified(1)
    )
    yield Query(
        "numbering 1,000",
        lambda keys: numbering.number_and_publish(keys, using),
        lambda: notified(1000),
        repeat=5,
    )
    yield Query(
        "marking 1",
        lambda given: marks.mark(given[0], "read", given[1]),
        own_item,
    )
    yield Query(
        f"marking {many}",
        lambda given: marks.mark_all(given[0], "read", given[1].seq, given[1].broadcast_seq),
        all_unread,
        repeat=3,
    )
    yield Query("expiring 1,000", lambda _: retraction.expire(using), due, repeat=3)
    yield Query("deleting 1,000", lambda _: next(retention.steps(using)), outdated, repeat=3)
    yield Query(
        "numbering 1,000 while all others wait",
        lambda keys: numbering.number_and_publish(keys, using),
        all_notified,
        repeat=1,
    )


def measure_queries(rows: int) -> tuple[dict[str, str], list[str]]:
    """Return each query's milliseconds, median and minimum, and a line for each bad plan."""
    times: dict[str, str] = {}
    problems: list[str] = []
    big_tables = _tables_with(BIG_TABLE_ROWS)
    for query in queries(rows // inboxes.ROWS_PER_ACCOUNT):
        given = query.prepare()
        with plans() as found:
            query.run(given)
        # In smaller tables, 500 accounts are so many that a scan is the best plan.
        problems += [
            f"{query.name}, {rows:,} rows: scans {table}\n{plan.statement:.2000}\n{plan.text}"
            for plan in found
            for table in sorted(plan.scanned & big_tables)
            if rows >= BIG_TABLE_ROWS
        ]
        taken = []
        for _ in range(query.repeat):
            given = query.prepare()
            started_at = time.perf_counter()
            query.run(given)
            taken.append(1000 * (time.perf_counter() - started_at))
        times[query.name] = f"{median(taken):,.1f} ({min(taken):,.1f})"
        print(f"  {query.name}: {times[query.name]} ms", flush=True)
    return times, problems


def _tables_with(rows: int) -> set[str]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= %s", [rows]
        )
        return {name for (name,) in cursor.fetchall()}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m harness.benchmarks.queries", description=__doc__
    )
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table here, too")
    options = parser.parse_args()
    if min(options.rows) < SIZES[0]:
        parser.error(f"--rows must be {SIZES[0]} or more, not {min(options.rows)}")
    columns: dict[int, dict[str, str]] = {}
    problems: list[str] = []
    with postgres_server(DURABLE, *POSTGRES_OPTIONS) as postgres:
        os.environ["DATABASE_URL"] = postgres.create_database("benchmark")
        os.environ |= {"DJANGO_SETTINGS_MODULE": "notify_site.settings", "DJANGO_DEBUG": "1"}
        os.environ.pop("REDIS_URL", None)
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        for rows in options.rows:
            started_at = time.monotonic()
            inboxes.fill(rows)
            print(f"{rows:,} rows ({time.monotonic() - started_at:.0f} s to fill)", flush=True)
            columns[rows], bad_plans = measure_queries(rows)
            problems += bad_plans
        report = _report(columns)
    for problem in problems:
        print(f"PROBLEM: {problem}")
    print(report)
    if options.output:
        options.output.parent.mkdir(exist_ok=True)
        options.output.write_text(report)
    return 1 if problems else 0


def _report(columns: dict[int, dict[str, str]]) -> str:
    from django.db import connection

    version = ".".join(map(str, divmod(connection.cursor().connection.info.server_version, 10000)))
    machine, versions = measure.machine(), measure.versions()
    sizes = " ".join(map(str, columns))
    lines = [
        "# Hot queries by size",
        "",
        f"`python -m harness.benchmarks.queries --rows {sizes}`, {datetime.date.today()}.",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory']}, load {machine['load']}; "
        f"PostgreSQL {version} with `{' '.join(POSTGRES_OPTIONS)}`, Python {versions['python']}, "
        f"Django {versions['django']}, psycopg {versions['psycopg']}.",
        "",
        "Milliseconds per call of the app's own function, with all its statements: median and "
        "minimum.",
        f"{inboxes.ROWS_PER_ACCOUNT} notifications per account and {inboxes.BUSY_ROWS:,} more for "
        f"one; {inboxes.BROADCASTS:,} live broadcasts; {inboxes.RECEIPTS} receipts per account, "
        f"{inboxes.ACTIVE_RECEIPTS} for {inboxes.ACTIVE_ACCOUNTS:,} of them. The command fails if "
        f"any statement's plan scans a table of {BIG_TABLE_ROWS:,} rows or more.",
        "",
        f"| | {' | '.join(f'{rows:,} rows' for rows in columns)} |",
        f"|---|{'---:|' * len(columns)}",
    ]
    for name in next(iter(columns.values())):
        lines.append(f"| {name} | {' | '.join(times[name] for times in columns.values())} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
