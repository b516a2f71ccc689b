"""A check for `manage.py check --deploy`, and for servers that start (`notify_site/start.py`)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError

from . import demo


@register(Tags.security, deploy=True)
def check_public_passwords(*args: Any, **kwargs: Any) -> list[CheckMessage]:
    """Report demo accounts that anybody can log in to."""
    if settings.DEBUG:
        return []
    try:
        names = demo.accounts_with_public_password()
    except DatabaseError:  # not there yet, or away
        return []
    if not names:
        return []
    return [
        Error(
            f"Accounts have the demo's public password: {', '.join(names)}.",
            hint="Change it with “manage.py changepassword NAME”, delete these accounts, or use "
            "another DATABASE_URL.",
            id="notify_site.E051",
        )
    ]
