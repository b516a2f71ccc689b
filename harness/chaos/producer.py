"""
A process that notifies: `python -m harness.chaos.producer NAME SEED ACCOUNTS RATE JOURNAL`.

It commits and rolls back at random until SIGTERM, about RATE rows per second.
Each call uses a unique token as the body, because ids of rolled-back rows are
reused after a crash of PostgreSQL.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import django

ROLLBACK_SHARE: Final = 0.15  # of the transactions
HELD_OPEN_SHARE: Final = 0.3  # of the transactions, so that they commit in another order
MAX_HELD_OPEN_SECONDS: Final = 0.1
BROADCAST_SHARE: Final = 0.03  # of the calls
RETRACTION_SHARE: Final = 0.03  # of the calls; each retracts one of the MAX_REMEMBERED newest
MAX_REMEMBERED: Final = 300
AUDIENCE_CHANGE_SHARE: Final = 0.004  # of the transactions: an account joins or leaves a group
MAX_FEW: Final = 12  # accounts at most
MANY: Final = (25, 60)  # accounts
DATABASE_RETRY_SECONDS: Final = 0.1


class Rollback(Exception):
    """Rolls back a transaction or a savepoint on purpose."""


class Producer:
    def __init__(self, name: str, seed: str, accounts: int, rate: float, journal: Path) -> None:
        from harness.chaos.journal import Journal

        self._name = name
        self._rng = random.Random(seed)
        self._accounts = range(1, accounts + 1)
        # Some accounts are notified far more often than others.
        self._weights = [1 / (3 + place) for place in range(accounts)]
        self._rate = rate
        self._journal = Journal(journal)
        self._calls = self._rows = 0
        self._last_key = ""
        self._newest: deque[int] = deque(maxlen=MAX_REMEMBERED)
        self._stopped = False

    def stop(self, *_: Any) -> None:
        self._stopped = True

    def run(self) -> None:
        from django.db import DatabaseError, InterfaceError, connection

        started_at = time.monotonic()
        while not self._stopped:
            ahead = self._rows / self._rate - (time.monotonic() - started_at)
            if ahead > 0:
                time.sleep(min(ahead, 0.2))
                continue
            try:
                if self._rng.random() < AUDIENCE_CHANGE_SHARE:
                    self._change_audience()
                self._transact()
            except (DatabaseError, InterfaceError):
                # It may have been committed; the judge reads the database.
                connection.close()
                time.sleep(DATABASE_RETRY_SECONDS)

    def _transact(self) -> None:
        from django.db import transaction

        notifications: list[int] = []
        broadcasts: list[int] = []
        tokens: list[str] = []
        try:
            with transaction.atomic():
                # Registered first, so that it runs before numbering and publishing.
                transaction.on_commit(lambda: self._journal.committed(notifications, broadcasts))
                for _ in range(self._rng.choice((1, 1, 1, 2, 4))):
                    self._call_in_savepoint(notifications, broadcasts, tokens)
                if self._rng.random() < HELD_OPEN_SHARE:
                    time.sleep(self._rng.uniform(0, MAX_HELD_OPEN_SECONDS))
                if self._rng.random() < ROLLBACK_SHARE:
                    raise Rollback
        except Rollback:
            self._journal.rolled_back(tokens)
        else:
            self._rows += len(notifications)
            self._newest += notifications

    def _call_in_savepoint(
        self, notifications: list[int], broadcasts: list[int], tokens: list[str]
    ) -> None:
        from django.db import transaction

        token = self._new_token()
        if self._rng.random() >= ROLLBACK_SHARE:
            tokens.append(token)
            self._call(token, notifications, broadcasts)
            return
        try:
            with transaction.atomic():
                self._call(token, [], [])
                raise Rollback
        except Rollback:
            self._journal.rolled_back([token])

    def _call(self, token: str, notifications: list[int], broadcasts: list[int]) -> None:
        from notifications import broadcast, notify_accounts, retract
        from notifications.models import Notification

        if self._rng.random() < BROADCAST_SHARE:
            row = broadcast("news", token, audience=self._draw_audience(), **self._draw_expiry())
            broadcasts.append(row.pk)
            return
        if self._newest and self._rng.random() < RETRACTION_SHARE:
            retract(Notification.objects.filter(pk=self._rng.choice(self._newest)))
        options: dict[str, Any] = self._draw_expiry()
        if self._rng.random() < 0.1:
            options["replace_key"] = f"progress{self._rng.randrange(3)}"
        if self._rng.random() < 0.1:
            # Half of these reuse the key of an earlier call, whose rows mostly exist already.
            if not self._last_key or self._rng.random() < 0.5:
                self._last_key = token
            options["idempotency_key"] = self._last_key
        notifications += notify_accounts(self._draw_accounts(), "note", token, **options).ids

    def _change_audience(self) -> None:
        from django.contrib.auth import get_user_model

        groups = get_user_model()(pk=self._rng.choice(self._accounts)).groups
        if self._rng.random() < 0.5:
            groups.add(1)
        else:
            groups.remove(1)

    def _new_token(self) -> str:
        self._calls += 1
        return f"{self._name} {self._calls}"

    def _draw_accounts(self) -> set[int]:
        how_many = self._rng.choices(
            (1, self._rng.randint(2, MAX_FEW), self._rng.randint(*MANY)), (10, 6, 1)
        )[0]
        return set(self._rng.choices(self._accounts, self._weights, k=how_many))

    def _draw_audience(self) -> Any:
        from django.contrib.auth.models import Group

        return self._rng.choice(["everyone", "staff", Group(pk=1)])

    def _draw_expiry(self) -> dict[str, Any]:
        from django.utils import timezone

        if self._rng.random() >= 0.03:
            return {}
        return {"expires_at": timezone.now() + timedelta(seconds=self._rng.uniform(0.1, 8))}


def main() -> None:
    name, seed, accounts, rate, journal = sys.argv[1:]
    django.setup()
    producer = Producer(name, seed, int(accounts), float(rate), Path(journal))
    signal.signal(signal.SIGTERM, producer.stop)
    print("ready", flush=True)
    producer.run()


if __name__ == "__main__":
    main()
