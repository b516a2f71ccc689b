from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notifications.models import Connection, Worker

from .pages import CHROME


@pytest.fixture
def admin(operator: User) -> Client:
    browser = Client()
    browser.force_login(operator)
    return browser


@pytest.fixture
def staff(make_account: Callable[..., User]) -> Callable[..., Client]:
    """Return a function that logs in a staff account with only these permissions."""

    def log_in(*permissions: str) -> Client:
        account = make_account("sam", is_staff=True)
        account.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        browser = Client()
        browser.force_login(account)
        return browser

    return log_in


@pytest.fixture
def worker(db: None) -> Worker:
    lease_until = timezone.now() + timedelta(hours=1)
    return Worker.objects.create(host="web-1", pid=4711, lease_until=lease_until)


@pytest.fixture
def connect(worker: Worker) -> Callable[..., Connection]:
    def open_tab(account: User, **fields: Any) -> Connection:
        fields = {"worker": worker, "user_agent": CHROME, "address": "192.0.2.7"} | fields
        return Connection.objects.create(account_id=account.pk, **fields)

    return open_tab


@pytest.fixture
def count_queries(db: None) -> Callable[..., int]:
    def count(action: Callable[[], Any]) -> int:
        with CaptureQueriesContext(connection) as queries:
            action()
        return len(queries)

    return count
