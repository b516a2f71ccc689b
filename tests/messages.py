"""
Bring the catalogs of translations up to date: `make messages`.

New strings are added without a translation; fill them in and run it again. It also compiles
the .mo files. They are part of the repository, as sites that install the app have no compiler.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from babel.messages import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT: Final = Path(__file__).resolve().parent.parent
LANGUAGE: Final = "zh_Hans"
KEYWORDS: Final = {
    **DEFAULT_KEYWORDS,
    **{f"{name}_lazy": DEFAULT_KEYWORDS[name] for name in ("gettext", "ngettext", "pgettext")},
}
HEADER: Final = rf"""# Brought up to date by `make messages`.
msgid ""
msgstr ""
"Language: {LANGUAGE}\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=1; plural=0;\n"

"""
# No date, so that a run without new strings changes nothing.
NO_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Strings:
    """Where strings are, and where their translations are."""

    folder: str
    sources: tuple[str, ...]

    @property
    def po(self) -> Path:
        return ROOT / self.folder / f"locale/{LANGUAGE}/LC_MESSAGES/django.po"

    @property
    def mo(self) -> Path:
        return self.po.with_suffix(".mo")

    def files(self) -> Iterator[Path]:
        for source in self.sources:
            for path in sorted((ROOT / source).rglob("*")):
                if path.suffix in {".py", ".html"}:
                    yield path


ALL: Final = (
    Strings("notifications", ("notifications",)),
    Strings("notify_site", ("notify_site", "templates")),
)


def new_catalog() -> Catalog:
    return Catalog(LANGUAGE, creation_date=NO_TIME, revision_date=NO_TIME, fuzzy=False)


def extracted(strings: Strings) -> Catalog:
    """Return the strings in the source."""
    catalog = new_catalog()
    for path in strings.files():
        source = path.read_text()
        if path.suffix == ".html":
            source = templatize(source)
        for line, message, comments, context in extract(
            "python", io.BytesIO(source.encode()), KEYWORDS, comment_tags=("Translators:",)
        ):
            where = [(str(path.relative_to(ROOT)), line)]
            catalog.add(message, locations=where, auto_comments=comments, context=context)
    return catalog


def read(strings: Strings) -> Catalog:
    """Return the present translations."""
    catalog = new_catalog()
    if strings.po.exists():
        with strings.po.open("rb") as file:
            for message in read_po(file, locale=LANGUAGE):
                if message.id:
                    catalog[message.id] = message
    return catalog


def is_translated(message: Message) -> bool:
    """Whether the message is translated, in all plural forms."""
    return all(message.string if isinstance(message.string, tuple) else (message.string,))


def write(strings: Strings, catalog: Catalog) -> None:
    text = io.BytesIO()
    write_po(text, catalog, omit_header=True, include_lineno=False, ignore_obsolete=True, width=99)
    strings.po.parent.mkdir(parents=True, exist_ok=True)
    strings.po.write_text(HEADER + text.getvalue().decode())
    with strings.mo.open("wb") as file:
        write_mo(file, catalog)


def main() -> None:
    for strings in ALL:
        catalog = read(strings)
        # A translation of a similar string is worse than none.
        catalog.update(extracted(strings), no_fuzzy_matching=True)
        write(strings, catalog)
        missing = sum(not is_translated(message) for message in catalog if message.id)
        print(f"{strings.po.relative_to(ROOT)}: {len(catalog)} strings, {missing} to translate")


if __name__ == "__main__":
    main()
