"""The crowd's actions over HTTP and in the database; they run in threads."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any, Final

from harness.session import send_request

TIMEOUT_SECONDS: Final = 20.0
MAX_NOTIFIED: Final = 5  # accounts


def log_in(account: int) -> str:
    """Return the key of a new session, created without the cost of hashing a password."""
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


def mark_all_read(port: int, session: str, position: dict[str, Any]) -> bool:
    upto = {name: position[name] for name in ("seq", "broadcast_seq")}
    return _post(port, session, "/notifications/mark/", {"upto": upto, "as": "read"}) == 200


def notify(accounts: int, rng: random.Random) -> int:
    """Notify a few accounts; return how many."""
    from django.db import connection

    from notifications import notify_accounts

    few = rng.sample(range(1, accounts + 1), min(accounts, rng.randint(1, MAX_NOTIFIED)))
    created = notify_accounts(few, "note", "Something happened", replace_key="latest").created
    connection.close()
    return created


def send_broadcast() -> None:
    from django.db import connection
    from django.utils import timezone

    from notifications import broadcast

    # It expires soon, because growing inboxes would look like a leak.
    broadcast("news", "Something happened", expires_at=timezone.now() + timedelta(seconds=10))
    connection.close()


def _post(port: int, session: str, path: str, content: Any) -> int:
    status, _ = send_request(port, session, "POST", path, content, timeout=TIMEOUT_SECONDS)
    return status
