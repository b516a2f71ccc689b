"""Create accounts and their sessions in bulk: `python -m harness.accounts <count>`."""

from __future__ import annotations

import sys
from typing import Final

UNUSABLE_PASSWORD: Final = "!benchmark"


def session_key(account: int) -> str:
    return f"benchmark{account:023d}"


def create(count: int) -> None:
    """Create accounts with the primary keys 1 to `count`, each with a session."""
    from datetime import timedelta

    from django.contrib.auth import (
        BACKEND_SESSION_KEY,
        HASH_SESSION_KEY,
        SESSION_KEY,
        get_user_model,
    )
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    user_model = get_user_model()
    user_model.objects.bulk_create(
        [
            user_model(pk=pk, username=f"account{pk}", password=UNUSABLE_PASSWORD)
            for pk in range(1, count + 1)
        ],
        batch_size=5000,
    )
    # The hash depends on the password only, so all accounts share it.
    session_hash = user_model(password=UNUSABLE_PASSWORD).get_session_auth_hash()
    store = SessionStore()
    expire_date = timezone.now() + timedelta(days=1)
    Session.objects.bulk_create(
        [
            Session(
                session_key=session_key(pk),
                session_data=store.encode(
                    {
                        SESSION_KEY: str(pk),
                        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
                        HASH_SESSION_KEY: session_hash,
                    }
                ),
                expire_date=expire_date,
            )
            for pk in range(1, count + 1)
        ],
        batch_size=5000,
    )


# Adds accounts without sessions, starting after the highest key.
INSERT_ACCOUNTS: Final = f"""
INSERT INTO auth_user
    (id, username, password, is_superuser, is_staff, is_active, first_name, last_name, email,
     date_joined)
SELECT key, 'account' || key, '{UNUSABLE_PASSWORD}', false, false, true, '', '', '',
       now() - interval '1 hour'
FROM generate_series((SELECT max(id) + 1 FROM auth_user), %s) AS key
"""

# Every tenth account is staff; every fourth is in the group that some broadcasts are for.
ASSIGN_AUDIENCES: Final = """
UPDATE auth_user SET is_staff = true WHERE id % 10 = 0;
INSERT INTO auth_group (id, name) VALUES (1, 'some');
INSERT INTO auth_user_groups (user_id, group_id) SELECT id, 1 FROM auth_user WHERE id % 4 = 0;
"""

if __name__ == "__main__":
    import django

    django.setup()
    create(int(sys.argv[1]))
