"""
One word, one meaning: the old words stay out of names and texts.

The new ones are in docs/design.md, under “Vocabulary”.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("notifications", "notify_site", "templates", "static", "harness", "docs")
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
SUFFIXES = {".css", ".html", ".js", ".md", ".py", ".ts", ".txt"}
# Written by a run of the benchmarks, with the words of its time.
GENERATED = ("harness/benchmarks/results/",)
# Where “the seed” is the one that a run's random numbers come from.
RANDOM = ("harness/chaos/", "harness/soak/", "harness/fuzz/", "harness/command.py")


@dataclass(frozen=True)
class Banned:
    """A pattern whose spaces match across lines, and the beginnings of comments in between."""

    pattern: str
    instead: str
    allowed_in: tuple[str, ...] = ()  # paths begin with one of them

    def find(self, text: str) -> Iterator[re.Match[str]]:
        return re.finditer(self.pattern.replace(" ", r"[\s#/*]+"), text)


# In names and texts alike.
WORDS = [
    Banned(r"\bBroadcastHead\b", "BroadcastSequence"),
    Banned(r"\bgone_at\b", "removed_at"),
    Banned(r"\bEnrolment\b|(?i:\benrol(s|led|ling|ment)?\b)", "registration, register"),
    Banned(r"\bHealing\b|(?i:\bheal(s|ed|ing)?\b)", "catch up, CatchUp"),
    Banned(r"(?i:withdr(aw|ew))", "retract (by code or an operator), or remove"),
    Banned(r"\b_?(MOST|LARGEST|LONGEST|HIGHEST)_[A-Z_]+\b", "MAX_…, with its unit"),
    Banned(r"\b_?(LEAST|SMALLEST|SHORTEST|LOWEST)_[A-Z_]+\b", "MIN_…, with its unit"),
    Banned(r"\b(ON_ITS_WAY|AT_A_TIME)\b", "what is limited, with its unit"),
    Banned(r"(?i:\bwho(so)?ever\b)", "the subject: the client that…, the process that…"),
    Banned(
        r"(?i:\bthe seed\b)",
        "protocol v1, the original design in Go, or the random seed",
        allowed_in=RANDOM,
    ),
    Banned(r"(?i:\bof before\b)", "earlier, older"),
    Banned(r"(?i:\b(it|they) never (was|were)\b)", "nobody is notified"),
    Banned(r"(?i:\b(is|are|until|being) level\b)", "up to date"),
]

# In names only: a sentence may have them.
NAMES = [
    Banned(
        r"(?i:(?<![a-z])told(?![a-z]))",
        "encoded change, or what the value is: an answer, a frame, …",
    ),
    Banned(r"\b_?(EVERY|PAUSE|TICK|END)\b", "what it is for, with its unit"),
]


def sources() -> list[Path]:
    found = [ROOT / page for page in PAGES]
    for folder in FOLDERS:
        found += [path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES]
    return [path for path in found if not relative(path).startswith(GENERATED)]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def names_in(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each name in a script, without comments and strings."""
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.start[0], token.string
    if path.suffix in {".js", ".ts"}:
        code = re.sub(r"(?s:/\*.*?\*/)|//.*|\"[^\"\n]*\"|'[^'\n]*'", _blank, text)
        for match in re.finditer(r"[A-Za-z_$][\w$]*", code):
            yield _line(code, match), match[0]


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _line(text: str, match: re.Match[str]) -> int:
    return text.count("\n", 0, match.start()) + 1


def complaints(path: Path, text: str) -> list[str]:
    place = relative(path)
    names = list(names_in(path, text))
    # Tests keep their names, which the documents quote.
    text = re.sub(r"\btest_\w+", _blank, text)
    found = [
        (_line(text, match), match[0], word.instead)
        for word in WORDS
        if not (word.allowed_in and place.startswith(word.allowed_in))
        for match in word.find(text)
    ]
    found += [
        (line, name, word.instead) for word in NAMES for line, name in names if any(word.find(name))
    ]
    return [f"{place}:{line}: “{match}”: {instead}" for line, match, instead in sorted(found)]


def test_the_sources_are_found() -> None:
    places = {relative(path) for path in sources()}

    assert {"README.md", "docs/design.md", "notifications/hub/hub.py"} <= places
    assert {"notifications/static/notifications/client.js", "harness/README.md"} <= places


def test_no_old_word_is_used() -> None:
    found = [complaint for path in sources() for complaint in complaints(path, path.read_text())]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("x.py", "class Told: pass", "Told"),
        ("x.py", "MOST_BYTES = 1", "MOST_BYTES"),
        ("x.py", '"""Whoever numbers a row pushes it."""', "Whoever"),
        ("x.py", "# withdrawn by the operator", "withdr"),
        ("x.py", "# rolled back, they never\n# were", "they never"),
        ("x.js", "this.#told = []", "told"),
        ("x.js", "const LONGEST_WAIT = 1", "LONGEST_WAIT"),
        ("x.md", "as in the seed", "the seed"),
        ("x.html", "{% comment %}gone_at{% endcomment %}", "gone_at"),
    ],
)
def test_an_old_word_is_found(name: str, text: str, match: str) -> None:
    (complaint,) = complaints(ROOT / name, text)

    assert f"“{match}" in complaint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # The wire has words of its own.
        ("x.py", 'protocol.state("gone", ids); frame["scope"]'),
        ("x.py", "# the hubs are told which session ended, and one is healthy"),
        ("x.js", "// other tabs are told\nconst state = { as: 'gone', epoch }"),
        ("x.md", "`test_who_was_told_and_withdrawn` in the browser, at level info; ALMOST_ALL"),
        ("harness/chaos/x.py", "# drawn from the seed"),
    ],
)
def test_other_words_are_left_alone(name: str, text: str) -> None:
    assert complaints(ROOT / name, text) == []
