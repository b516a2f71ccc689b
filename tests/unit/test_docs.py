"""What the documentation lists is all there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = (ROOT / "docs/settings.md").read_text()


def test_every_setting_is_documented() -> None:
    used = re.findall(r'"(NOTIFICATIONS_[A-Z_]+)"', (ROOT / "notifications/conf.py").read_text())

    assert set(used) == set(re.findall(r"^\| `(NOTIFICATIONS_[A-Z_]+)`", SETTINGS, re.MULTILINE))


def test_every_system_check_is_documented() -> None:
    pattern = r"notifications\.[EW]\d{3}"

    used = re.findall(pattern, (ROOT / "notifications/checks.py").read_text())

    assert set(used) == set(re.findall(pattern, SETTINGS))
