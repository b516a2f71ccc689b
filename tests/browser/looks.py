"""The looks in docs/themes.md, as they stand there: the name of each, with its CSS."""

from __future__ import annotations

import re

from harness.services import ROOT

THEMES = (ROOT / "docs/themes.md").read_text()
LOOKS: dict[str, str] = dict(
    re.findall(r"^### ([^\n]+)$.*?^```css\n(.*?)^```$", THEMES, re.MULTILINE | re.DOTALL)
)
