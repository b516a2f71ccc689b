from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from notifications import layer


@pytest.fixture
def make_account(db: None) -> Callable[..., User]:
    def make(username: str, **fields: Any) -> User:
        return User.objects.create_user(username, password="demo", **fields)

    return make


@pytest.fixture
def alice(make_account: Callable[..., User]) -> User:
    return make_account("alice")


@pytest.fixture
def bob(make_account: Callable[..., User]) -> User:
    return make_account("bob")


@pytest.fixture
def carol(make_account: Callable[..., User]) -> User:
    """Somebody who has nothing to do with what alice and bob do."""
    return make_account("carol")


@pytest.fixture
def operator(make_account: Callable[..., User]) -> User:
    return make_account("operator", is_staff=True, is_superuser=True)


@pytest.fixture(autouse=True)
def closed_breaker() -> None:
    """No test starts with the channel layer given up by the one before."""
    layer.breaker.succeeded()
