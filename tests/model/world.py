"""
The whole system for one story: the database, two server processes, three tabs.

Concurrent transactions are simulated, because SQLite has one at a time: a transaction that commits
late is written late, with the ids that it took early.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from channels.layers import get_channel_layer
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import override_settings

from notifications import broadcast, notify_accounts, retract
from notifications.audiences import Recipient
from notifications.inbox import marks, pages
from notifications.inbox.marks import ChangeRange
from notifications.lifecycle import numbering
from notifications.maintenance import Maintenance, begin_epoch
from notifications.models import (
    Broadcast,
    BroadcastReceipt,
    Notification,
    State,
)
from notifications.sessions.authentication import Session
from notifications.testing import log_in

from .processes import ModelLayer, Process
from .tabs import Browser, Failure, Tab

MAX_ROUNDS = 40  # until everything must have caught up
MAX_PAGES = 40  # of a list
# How long catching up takes: by live updates, by the hub's check, by its recheck of audiences.
LIVE_SECONDS, CHECK_SECONDS, RECHECK_SECONDS = 0.4, 10.0, 50.0

Snapshot = tuple[sqlite3.Connection, list[str]]


class RolledBack(Exception):
    pass


class World:
    def __init__(self, browser: Browser, errors: list[str]) -> None:
        layer = get_channel_layer()
        assert isinstance(layer, ModelLayer)
        self.layer = layer
        self.accounts = list(User.objects.order_by("pk"))
        self.group = Group.objects.get()
        self.histories: dict[Any, Any] = {a.pk: defaultdict(list) for a in self.accounts}
        self.open: list[list[Notification]] = []  # not yet committed
        self.ranges: list[tuple[User, ChangeRange]] = []
        self.meanwhile: Callable[[], None] | None = None
        self.snapshot: sqlite3.Connection | None = None
        self.catch_up_seconds = LIVE_SECONDS
        self.processes = [Process(number, layer) for number in range(2)]
        alice, bob = self.accounts
        self.tabs = [
            Tab(
                browser,
                number,
                account,
                Session(log_in(account)),
                self.histories[account.pk],
                self.record,
                errors,
            )
            for number, account in enumerate([alice, alice, bob])
        ]

    def close(self) -> None:
        for process in self.processes:
            process.kill()

    # --- The database

    def notify(self, accounts: Iterable[User], **options: Any) -> None:
        notify_accounts(accounts, "news", "Hello", **options)
        self.record()

    def begin(self, accounts: Iterable[User], **options: Any) -> None:
        """Begin a transaction that commits later."""
        result = notify_uncommitted(accounts, **options)
        self.open.append(result)

    def commit(self, index: int) -> None:
        rows = self.open.pop(index)
        with transaction.atomic():
            Notification.objects.bulk_create(rows)
            numbering.number_after_commit([row.account_id for row in rows], "default")
        self.record()

    def roll_back(self, index: int) -> None:
        del self.open[index]

    def commit_and_crash(self, account: User) -> None:
        """Commit, and crash before the rows are numbered."""
        with transaction.atomic():
            notify_accounts(account, "news", "Hello")
            connection.run_on_commit = []
        self.allow_seconds(CHECK_SECONDS)

    def broadcast(self, audience: Any, **options: Any) -> None:
        broadcast("news", "Hello all", audience=audience, **options)
        self.record()

    def mark(self, account: User, mark: str, ids: list[str]) -> None:
        """Mark from a device without a connection."""
        marked = marks.mark(Recipient.of(account), mark, ids)
        self._marked(account, marked)

    def mark_all(self, account: User, mark: str) -> None:
        position = pages.read_latest(Recipient.of(account)).position
        self._marked(
            account,
            marks.mark_all(Recipient.of(account), mark, position.seq, position.broadcast_seq),
        )

    def undo(self, index: int) -> None:
        account, change_range = self.ranges.pop(index)
        marks.undo(Recipient.of(account), change_range)
        self.record()

    def _marked(self, account: User, marked: marks.Marked) -> None:
        if marked.change_range:
            self.ranges.append((account, marked.change_range))
        self.record()

    def maintain(self) -> None:
        Maintenance().run()
        self.record()

    def retain(self) -> None:
        """Delete everything but unread notifications and live broadcasts."""
        with override_settings(NOTIFICATIONS_RETENTION_DAYS=0):
            self.maintain()

    def change_audience(self, account: User) -> None:
        if not account.groups.filter(pk=self.group.pk).exists():
            account.groups.add(self.group)
        else:
            account.groups.remove(self.group)
        self.allow_seconds(RECHECK_SECONDS)

    def allow_seconds(self, seconds: float) -> None:
        """Note that catching up may take this long."""
        self.catch_up_seconds = max(self.catch_up_seconds, seconds)

    def retract(self, wire_id: str) -> None:
        model = Notification if wire_id[0] == "n" else Broadcast
        retract(model.objects.filter(pk=wire_id[1:]))
        self.record()

    def back_up(self) -> None:
        self.snapshot = copy_of_database()

    def restore(self) -> None:
        """Restore the database, as operators do: then a new epoch begins."""
        assert self.snapshot
        for process in self.processes:
            process.in_flight.clear()
        restore_database(self.snapshot)
        self.snapshot = None
        begin_epoch()
        self.allow_seconds(RECHECK_SECONDS)
        self.open.clear()
        self.ranges.clear()
        for history in self.histories.values():
            history.clear()
        self.record()
        for tab in self.tabs:
            tab.restored()

    def record(self) -> None:
        """Record the states that items have been in."""
        for row in Notification.objects.filter(seq__isnull=False):
            self._note(self.histories[row.account_id][row.wire_id], row.state)
        receipts = {(r.account_id, r.broadcast_id): r.state for r in BroadcastReceipt.objects.all()}
        for row in Broadcast.objects.filter(seq__isnull=False):
            for account in self.accounts:
                state = (
                    State.REMOVED
                    if row.removed_at
                    else receipts.get((account.pk, row.pk), "unread")
                )
                self._note(self.histories[account.pk][row.wire_id], state)

    def _note(self, states: list[str], state: str) -> None:
        if states[-1:] != [str(state)]:
            states.append(str(state))

    # --- The servers

    def crash(self, index: int) -> None:
        for tab in self.tabs:
            if tab.process is self.processes[index]:
                tab.cut()
        self.processes[index].kill()
        self.processes[index] = Process(index, self.layer)

    def settle(self) -> None:
        """Run everything that is due, in every process."""
        self.record()
        for process in self.processes:
            process.settle()

    def flush(self) -> None:
        """Let the layer forget its groups."""
        self.layer.groups.clear()
        self.allow_seconds(CHECK_SECONDS)

    # --- At the end

    def catch_up(self) -> None:
        """Let everything through, until nothing happens any more."""
        self.meanwhile = None
        self.layer.is_slow = False
        while self.open:
            self.commit(0)
        for process in self.processes:
            process.is_slow = False
        for tab in self.tabs:
            tab.connect(self.processes[0])
        for _ in range(MAX_ROUNDS):
            for process in self.processes:
                while process.in_flight:
                    process.deliver(0)
                process.pass_time(self.catch_up_seconds)
            self.record()  # the check may have numbered rows
            for tab in self.tabs:
                tab.connect(self.processes[0])
                tab.beat()
                tab.read(100)
                while tab.requests:
                    tab.answer()
            if self._is_quiet():
                return
        raise Failure("it never catches up")

    def _is_quiet(self) -> bool:
        return not any(process.in_flight for process in self.processes) and all(
            tab.connection
            and not tab.connection.behind
            and tab.wire
            and not tab.wire.frames
            and not tab.requests
            and tab.shown["status"] == "online"
            for tab in self.tabs
        )

    def check(self) -> None:
        """Compare what the tabs show with the database."""
        if Notification.objects.unnumbered().exists():
            raise Failure("a committed notification has no number")
        for tab in self.tabs:
            tab.do("look")
            truth = Truth(tab.account)
            self._check_received(tab, truth)

            def without_archived(items: list[Any], tab: Tab = tab) -> list[Any]:
                # A frame has only the state of an item that leaves the archive, so a list
                # without the item shows it after the next load.
                return [item for item in items if "archived" not in tab.history[item[0]]]

            for folder in ("inbox", "unread"):
                load_all(tab, folder)
                expected = truth.inbox if folder == "inbox" else truth.unread
                # Items deleted by retention stay in open tabs; they were read or removed before.
                shown = [(key, state) for key, state in tab.shown[folder] if key in truth.rows]
                deleted = [item for item in tab.shown[folder] if item[0] not in truth.rows]
                if unread := [key for key, state in deleted if state == "unread"]:
                    raise Failure(
                        f"{tab} shows in {folder} {unread} as unread, but they were deleted"
                    )
                for kind in "nb":
                    ours = [item for item in expected if item[0][0] == kind]
                    theirs = [item for item in shown if item[0][0] == kind]
                    if without_archived(ours) != without_archived(theirs):
                        raise Failure(f"{tab} shows in {folder} {theirs}, not {ours}")

    def _check_received(self, tab: Tab, truth: Truth) -> None:
        """Check what the client knows without reloading its lists."""
        if tab.shown["counts"] != truth.counts:
            raise Failure(f"{tab} counts {tab.shown['counts']}, not {truth.counts}")
        states = dict(truth.inbox)
        for wire_id, state in tab.shown["inbox"]:
            if wire_id in truth.rows and states.get(wire_id) != state:
                raise Failure(f"{tab} shows {wire_id} as {state}, not {states.get(wire_id)}")
        since = {"n": tab.received_from["seq"], "b": tab.received_from["broadcast_seq"]}
        known = {wire_id for wire_id, _ in tab.shown["inbox"]}
        is_whole = "inbox" in tab.shown["loaded"] and "inbox" not in tab.shown["older"]
        for wire_id, number in truth.numbers.items():
            if number > since[wire_id[0]]:
                if wire_id not in tab.notified:
                    raise Failure(f"{tab} never received {wire_id}")
                if is_whole and wire_id not in known:
                    raise Failure(f"{tab} does not show {wire_id}")


class Truth:
    """An account's items according to the rows: newest first, notifications before broadcasts."""

    def __init__(self, account: User) -> None:
        recipient = Recipient.of(User.objects.get(pk=account.pk))
        own = Notification.objects.filter(account=account, number__isnull=False)
        rows: list[Any] = list(own.order_by("-number"))
        items = [(row, row.state) for row in rows]
        receipts = {
            r.broadcast_id: r.state for r in BroadcastReceipt.objects.filter(account=account)
        }
        for row in Broadcast.objects.filter(number__isnull=False).order_by("-number"):
            if row.audience in recipient.audiences:
                state = State.REMOVED if row.removed_at else receipts.get(row.pk, State.UNREAD)
                items.append((row, state))
        self.rows = {row.wire_id for row, _ in items}
        shown = [(row, str(state)) for row, state in items if state in {"unread", "read"}]
        self.inbox = [(row.wire_id, state) for row, state in shown]
        self.numbers = {row.wire_id: row.number for row, _ in shown}
        self.unread = [item for item in self.inbox if item[1] == "unread"]
        self.counts = [sum(item[0][0] == kind for item in self.unread) for kind in "nb"]


def load_all(tab: Tab, folder: str) -> None:
    tab.do("load", folder)
    while tab.requests:
        tab.answer()
    pages = 0
    while folder in tab.shown["older"]:
        pages += 1
        if pages > MAX_PAGES:
            raise Failure(f"{tab} never stops loading {folder}")
        tab.do("loadOlder", folder)
        while tab.requests:
            tab.answer()


def notify_uncommitted(accounts: Iterable[User], **options: Any) -> list[Notification]:
    """Return the rows of a transaction that has not committed; their ids are used up."""
    with suppress(RolledBack), transaction.atomic():
        result = notify_accounts(accounts, "news", "Hello", **options)
        rows = list(Notification.objects.filter(pk__in=result.ids))
        raise RolledBack
    with connection.cursor() as cursor:
        table = Notification._meta.db_table
        cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
        cursor.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, max(result.ids)]
        )
    return rows


def copy_of_database() -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:")
    connection.ensure_connection()
    connection.connection.backup(copy)
    return copy


def restore_database(copy: sqlite3.Connection) -> None:
    connection.ensure_connection()
    copy.backup(connection.connection)
