"""Broadcasts to a group need accounts that can be in Django's groups."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Warning

from notifications.audiences import groups_field


def check_accounts(**kwargs: Any) -> list[CheckMessage]:
    user_model = get_user_model()
    if groups_field() is not None or not hasattr(user_model, "groups"):
        return []
    return [
        Warning(
            f"“groups” of {user_model._meta.label} is not a many-to-many to auth.Group, so "
            "broadcasts can't be sent to groups.",
            hint="Give it another name, or silence this warning if you don't want to send any.",
            id="notifications.W049",
        )
    ]
