"""Every NOTIFICATIONS_* setting must have an allowed value."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from notifications.conf import SETTINGS
from notifications.settings_spec import PREFIX

# From 0 to 1. A site may have settings of its own with our prefix, which resemble none of ours.
MIN_SIMILARITY: Final = 0.75


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    return [*_wrong_values(), *_misspelt_names()]


def _wrong_values() -> Iterator[CheckMessage]:
    for setting in SETTINGS:
        value = getattr(settings, setting.name, setting.default)
        if not setting.allowed.test(value):
            level = Warning if ".W" in setting.check_id else Error
            yield level(
                f"{setting.name} must be {setting.allowed.text}, not {value!r}.",
                hint=setting.hint and setting.hint(),
                id=setting.check_id,
            )


def _misspelt_names() -> Iterator[CheckMessage]:
    known = {setting.name.removeprefix(PREFIX) for setting in SETTINGS}
    for name in dir(settings):
        own = name.removeprefix(PREFIX)
        if name == own or own in known:
            continue
        if nearest := get_close_matches(own, known, n=1, cutoff=MIN_SIMILARITY):
            yield Warning(
                f"There is no setting {name}.",
                hint=f"Did you mean {PREFIX}{nearest[0]}?",
                id="notifications.W031",
            )
