"""Texts as callers give them: lazy ones, and those that nobody can see."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

from django.utils.functional import Promise

# Spaces, control and format characters, halves of surrogate pairs, and marks, which need a letter.
_NOT_SEEN_ALONE: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Me"})
# Letters, symbols and code points to come that draw nothing: what Unicode has as
# Default_Ignorable_Code_Point outside of those categories, and two symbols that are empty.
_NOTHING: Final = frozenset(
    map(
        chr,
        [
            *(0x115F, 0x1160, 0x3164, 0xFFA0),  # fillers of Hangul
            *(0x2800, 0x1D159),  # a cell of braille without dots, a note without a head
            *(0x2065, *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000)),
        ],
    )
)

# Letters of few languages have as many marks; piled up ones cover the lines above and below.
MAX_MARKS: Final = 3

_DIRECTIONS: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def is_blank(text: str) -> bool:
    """
    Whether a text has nothing that can be seen.

    A code point that this Python does not know counts as visible: it may be a new emoji.
    """
    return all(
        unicodedata.category(character) in _NOT_SEEN_ALONE or character in _NOTHING
        for character in text
    )


def plain(text: str) -> str:
    """
    Return a text without what leaves its place, for titles and logs.

    That is what changes the direction of writing, and more than MAX_MARKS marks on a letter.
    """
    shown, marks = [], 0
    for character in _DIRECTIONS.sub("", text):
        category = unicodedata.category(character)
        if category in {"Mn", "Me"}:
            marks += 1
        elif category != "Cf":  # which nobody sees, between two marks
            marks = 0
        if marks <= MAX_MARKS or category == "Cf":
            shown.append(character)
    return "".join(shown)


def resolved(value: Any, levels: int) -> Any:
    """
    Return a value with plain text in place of lazy text and subclasses of `str`.

    So it does in the keys and values of dicts and in lists inside it, up to so many levels. Lazy
    text is resolved in the language that is active now.
    """
    if type(value) is str:
        return value
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, str):
        # For an enumeration, str() may return its name. A lazy object only looks like text.
        return str.__str__(value) if issubclass(type(value), str) else str(value)
    if levels and isinstance(value, dict):
        return {resolved(key, 0): resolved(each, levels - 1) for key, each in value.items()}
    if levels and isinstance(value, list | tuple):
        return [resolved(each, levels - 1) for each in value]
    return value
