"""Broadcasts need accounts with a creation date; those to a group, with Django's groups."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Warning

from notifications.audiences import created_field, groups_field
from notifications.conf import Conf


def check_accounts(**kwargs: Any) -> list[CheckMessage]:
    return [*_check_groups(), *_check_creation_date()]


def _check_creation_date() -> list[CheckMessage]:
    setting = Conf.ACCOUNT_CREATED_FIELD
    if setting.is_set or created_field() is not None:  # a wrong value is an error of its own
        return []
    meta = get_user_model()._meta
    name = setting.default
    kinds = [type(field).__name__ for field in meta.concrete_fields if field.name == name]
    found = f"a {kinds[0]} “{name}”" if kinds else f"no field “{name}”"
    return [
        Warning(
            f"{meta.label} has {found}, which {setting.name} takes as the creation date of "
            "accounts unless it is set. It must be a DateTimeField or a DateField. Without one, "
            "new accounts also get the broadcasts that were sent before they were created.",
            hint=f"Set {setting.name} to the name of such a field, or silence this warning.",
            id="notifications.W053",
        )
    ]


def _check_groups() -> list[CheckMessage]:
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
