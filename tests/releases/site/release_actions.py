"""
What a process of any release does: `python release_actions.py ACTION ARGUMENT …`.

The documented functions only, so that each release can run it.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import django
from django.contrib.auth import get_user, get_user_model, logout
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

django.setup()

from django.contrib.sessions.models import Session  # noqa: E402

from notifications import broadcast, notify_accounts, retract  # noqa: E402
from notifications.models import Broadcast, Notification  # noqa: E402


def notify(account: str, body: str) -> None:
    notify_accounts([account], "hello", body, meta_data={"by": "a release"}, url="/here/")


def notify_many(body: str) -> None:
    """Too many accounts for a message to each one's group."""
    notify_accounts(get_user_model().objects.all(), "hello", body)


def replace(account: str, body: str) -> None:
    notify_accounts([account], "hello", body, replace_key="latest")


def push(account: str, body: str) -> None:
    """To open tabs only."""
    notify_accounts([account], "progress", body, persist=False)


def tell_all(body: str) -> None:
    broadcast("news", body, level="warning")


def renew_sessions() -> None:
    Session.objects.update(expire_date=timezone.now() + timedelta(days=1))


def log_out(session_key: str) -> None:
    request = HttpRequest()
    request.session = SessionStore(session_key)
    request.user = get_user(request)
    logout(request)


def take_back(body: str) -> None:
    retract(Notification.objects.filter(body=body))
    retract(Broadcast.objects.filter(body=body))


def take_back_and_crash(body: str) -> None:
    """End after the commit, before the messages are removed."""
    with transaction.atomic():
        transaction.on_commit(lambda: os._exit(0))
        take_back(body)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
