"""What the documentation lists is all there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import settings

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = (ROOT / "docs/settings.md").read_text()
THEMES = (ROOT / "docs/themes.md").read_text()
STYLES = "".join(p.read_text() for p in (ROOT / "notifications/static").rglob("*.css"))
TEMPLATES = {
    p.name: p.read_text() for p in (ROOT / "notifications/templates/notifications").iterdir()
}


def test_the_settings_are_those_of_the_code() -> None:
    assert settings.render(SETTINGS) == SETTINGS, "Run: python -m docs.settings"


def test_every_system_check_is_documented() -> None:
    pattern = r"notifications\.[EW]\d{3}"
    sources = [path.read_text() for path in (ROOT / "notifications").rglob("*.py")]

    assert set(re.findall(pattern, "".join(sources))) == set(re.findall(pattern, SETTINGS))


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    """Also by its beginning, when the rest of the name is left out (…)."""
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    tests = [name for source in sources for name in re.findall(r"def (test_\w+)\(", source)]
    text = page.read_text()

    for path in re.findall(r"`(tests/[\w/]+\.\w+)`", text):
        assert (ROOT / path).exists(), path
    for name, is_cut in re.findall(r"`(test_[a-z0-9_]+)(…?)[^`.]*`", text):
        assert [test for test in tests if test == name or is_cut and test.startswith(name)], name


def test_every_custom_property_of_the_styles_is_documented() -> None:
    set_by_the_script = {f"--notifications-panel-{side}" for side in ("top", "bottom", "end")}
    set_by_the_script.add("--notifications-batch")
    documented = re.findall(r"^\| (.*--notifications-.*?) \|", THEMES, re.MULTILINE)

    used = set(re.findall(r"var\(\s*(--notifications-[a-z-]+)", STYLES))

    assert used - set_by_the_script == set(re.findall(r"--[a-z-]+", "".join(documented)))


def test_the_looks_hold_on_to_what_there_is() -> None:
    css = "".join(re.findall(r"```css\n(.*?)```", THEMES, re.DOTALL))

    assert set(re.findall(r"--notifications-[a-z-]+", css)) <= set(
        re.findall(r"--notifications-[a-z-]+", STYLES)
    )
    for attribute in set(re.findall(r'data-part="[a-z-]+"', css)):
        assert any(attribute in source for source in TEMPLATES.values()), attribute


def test_every_template_is_documented() -> None:
    table = THEMES.partition("| `notifications/…` |")[2].partition("\n\n")[0]

    assert set(TEMPLATES) == set(re.findall(r"`([a-z_]+\.html)`", table))
