"""Writes the settings in settings.md, from `notifications.conf`: `python -m docs.settings`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from notifications.conf import SETTINGS

PAGE = Path(__file__).with_suffix(".md")
FIRST_LINE = "<!-- Written by python -m docs.settings from notifications/conf.py. -->\n"
LAST_LINE = "<!-- End of what is written. -->\n"


def render(page: str) -> str:
    """Return the page with its settings written anew."""
    before, _, rest = page.partition(FIRST_LINE)
    _, _, after = rest.partition(LAST_LINE)
    return "".join([before, FIRST_LINE, *_sections(), "\n", LAST_LINE, after])


def _sections() -> Iterator[str]:
    for setting in SETTINGS:
        allowed = setting.allowed.text[0].upper() + setting.allowed.text[1:]
        yield f"\n### `{setting.name}`\n\n"
        yield f"Default `{_python(setting.default)}`. {allowed} (`{setting.check_id}`).\n\n"
        yield f"{setting.description}\n"


def _python(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
