"""What a client of the crowd does over HTTP and in the database, in threads of its own."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any, Final

from harness.session import ask

TIMEOUT: Final = 20.0  # seconds
NOTIFIED: Final = 5  # accounts at most


def log_in(account: int) -> str:
    """Return the key of a new session. No password is asked for: hashing is not what is tried."""
    from django.contrib.sessions.models import Session
    from django.db import connection
    from django.utils.crypto import get_random_string

    from harness.accounts import session_key

    session = Session.objects.get(pk=session_key(account))
    session.pk = get_random_string(32)
    session.save(force_insert=True)
    connection.close()
    return session.pk


def log_out(port: int, session: str) -> bool:
    return _post(port, session, "/logout/", None) == 302


def mark_all_read(port: int, session: str, cursor: dict[str, Any]) -> bool:
    upto = {name: cursor[name] for name in ("seq", "broadcast_seq")}
    return _post(port, session, "/notifications/mark/", {"upto": upto, "as": "read"}) == 200


def notify(accounts: int, chance: random.Random) -> int:
    """Notify a few accounts; return how many."""
    from django.db import connection

    from notifications import notify_accounts

    few = chance.sample(range(1, accounts + 1), min(accounts, chance.randint(1, NOTIFIED)))
    created = notify_accounts(few, "told", "Something happened", replace_key="latest").created
    connection.close()
    return created


def tell_everybody() -> None:
    from django.db import connection
    from django.utils import timezone

    from notifications import broadcast

    # It expires soon: inboxes that grow would not be the servers' doing.
    broadcast("news", "Something happened", expires_at=timezone.now() + timedelta(seconds=10))
    connection.close()


def _post(port: int, session: str, path: str, content: Any) -> int:
    status, _ = ask(port, session, "POST", path, content, timeout=TIMEOUT)
    return status
