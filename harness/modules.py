"""Our JavaScript modules as a browser loads them: what each imports, at once or later."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Final

SOURCE: Final = Path(__file__).resolve().parent.parent / "notifications/static/notifications"
ENTRY: Final = "index.js"

# A statement of its own, at the start of a line: the one style that we use, see
# tests/unit/test_static_files.py. Minified, it may also follow another one.
STATIC: Final = re.compile(
    r"""(?:^|;)(?:import|export)(?:[\s{*][^"';]*?[\s}]from)?\s*["'](?P<url>[^"']+)["']""",
    re.MULTILINE,
)
DYNAMIC: Final = re.compile(r"""\bimport\(\s*["'](?P<url>[^"']+)["']\s*\)""")


def imports(directory: Path, name: str, *, dynamic: bool = True) -> list[str]:
    """Return the names, from the directory, of the modules that this one imports."""
    source = (directory / name).read_text()
    found = [*STATIC.finditer(source), *(DYNAMIC.finditer(source) if dynamic else ())]
    return [normpath(join(dirname(name), match["url"])) for match in found]


def reached(directory: Path, name: str, *, dynamic: bool = True) -> list[str]:
    """Return the names of this module and of all that it imports, each once."""
    found: list[str] = []
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            waiting += imports(directory, name, dynamic=dynamic)
    return found
