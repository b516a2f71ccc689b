"""A logout must end the session."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning


def check_sessions(**kwargs: Any) -> list[CheckMessage]:
    if settings.SESSION_ENGINE != "django.contrib.sessions.backends.signed_cookies":
        return []
    return [
        Warning(
            "Sessions in signed cookies can't be ended: a copy of the cookie stays valid for "
            "SESSION_COOKIE_AGE, even after a logout.",
            hint='Set SESSION_ENGINE to "django.contrib.sessions.backends.db" or “cached_db”.',
            id="notifications.W013",
        )
    ]
