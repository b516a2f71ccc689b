"""The settings as the code reads them."""

from __future__ import annotations

from typing import Any

from notifications.conf import SETTINGS, Conf, conf


def test_a_setting_is_read_each_time(settings: Any) -> None:
    assert conf.MAX_UNSENT == 64 * 1024

    settings.NOTIFICATIONS_MAX_UNSENT = 5000
    assert conf.MAX_UNSENT == 5000

    del settings.NOTIFICATIONS_MAX_UNSENT
    assert conf.MAX_UNSENT == 64 * 1024


def test_the_class_has_the_descriptions(settings: Any) -> None:
    settings.NOTIFICATIONS_MAX_UNSENT = 5000

    assert Conf.MAX_UNSENT.name == "NOTIFICATIONS_MAX_UNSENT"
    assert Conf.MAX_UNSENT.default == 64 * 1024
    assert Conf.MAX_UNSENT in SETTINGS
