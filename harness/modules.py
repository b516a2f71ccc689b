"""Our JavaScript modules and their imports, static and dynamic."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Final

SOURCE: Final = Path(__file__).resolve().parent.parent / "notifications/static/notifications"
ENTRY: Final = "index.js"

# A statement at the start of a line, the only style that we use (tests/unit/test_static_files.py
# checks it). In minified files it may also follow another statement.
STATIC: Final = re.compile(
    r"""(?:^|;)(?:import|export)(?:[\s{*][^"';]*?[\s}]from)?\s*["'](?P<url>[^"']+)["']""",
    re.MULTILINE,
)
DYNAMIC: Final = re.compile(r"""\bimport\(\s*["'](?P<url>[^"']+)["']\s*\)""")


def imports(directory: Path, name: str, *, dynamic: bool = True) -> list[str]:
    """Return the modules that this one imports, as paths relative to the directory."""
    source = (directory / name).read_text()
    found = [*STATIC.finditer(source), *(DYNAMIC.finditer(source) if dynamic else ())]
    return [normpath(join(dirname(name), match["url"])) for match in found]


def reached(directory: Path, name: str, *, dynamic: bool = True) -> list[str]:
    """Return this module and all modules that it imports, directly or not, each once."""
    found: list[str] = []
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            waiting += imports(directory, name, dynamic=dynamic)
    return found
