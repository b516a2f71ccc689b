"""
Checks our JavaScript: `python -m tests.javascript lint` and `types`. `format` formats it, and
`declare` generates client.d.ts.

The tools are npm packages, run by deno, which comes as a wheel, so that only Python is needed.
deno.json has their versions and deno.lock their hashes; deno downloads them once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

ROOT: Final = Path(__file__).resolve().parent.parent
DENO: Final = Path(sys.executable).parent / "deno"
BIOME: Final = "@biomejs/biome"
TSC: Final = "typescript/tsc"
CLIENT: Final = "notifications/static/notifications/client.d.ts"
# Biome removes all semicolons, but Django's storages only rewrite imports that end in one.
OWN_IMPORT: Final = re.compile(r'^((?:import|export)\b.*"\.{1,2}/[^"]+")$', re.MULTILINE)


def deno(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run deno; return the finished process with its output."""
    environment = {**os.environ, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    command = [DENO, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def run_tool(
    name: str, *arguments: str | Path, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run an npm package of deno.json in the version of deno.lock."""
    options = ["--config", ROOT / "deno.json", "--frozen", "--quiet", "--allow-all"]
    return deno("run", *options, name, *arguments, cwd=cwd)


def package_file(path: str) -> Path:
    """Return a file of an npm package of deno.json, such as `htmx.org/dist/htmx.js`."""
    options = ["--config", ROOT / "deno.json", "--frozen", "--quiet"]
    done = deno("eval", *options, f"console.log(import.meta.resolve({json.dumps(path)}))")
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Path(url2pathname(urlsplit(done.stdout.strip()).path))


def scripts() -> list[str]:
    """Return the paths of our JavaScript, new files included."""
    patterns = ["*.js", "*.mjs"]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(path for path in listed.stdout.splitlines() if (ROOT / path).exists())


def formatted(paths: Sequence[str]) -> dict[str, str]:
    """Return the formatted content of the files."""
    with TemporaryDirectory() as directory:
        copy = Path(directory)
        for path in ["biome.json", *paths]:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, copy / path)
        done = run_tool(BIOME, "format", "--write", *paths, cwd=copy)
        if done.returncode:
            sys.exit(done.stderr)
        return {path: OWN_IMPORT.sub(r"\1;", (copy / path).read_text()) for path in paths}


def difference(path: str, actual: str, expected: str) -> str:
    lines = (text.splitlines(keepends=True) for text in (actual, expected))
    return "".join(unified_diff(*lines, path, f"{path} (expected)"))


def lint() -> str:
    """Return the problems, "" if there are none."""
    paths = scripts()
    done = run_tool(BIOME, "lint", "--error-on-warnings", *paths)
    return (done.stdout + done.stderr if done.returncode else "") + "".join(
        difference(path, (ROOT / path).read_text(), text) for path, text in formatted(paths).items()
    )


def write_formatted() -> None:
    for path, text in formatted(scripts()).items():
        (ROOT / path).write_text(text)


def declarations() -> str:
    """Return the generated client.d.ts. Exits if there are type errors."""
    with TemporaryDirectory() as directory:
        options = "--project jsconfig.json --noEmit false --declaration --emitDeclarationOnly"
        done = run_tool(TSC, *options.split(), "--outDir", directory)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        return (Path(directory) / "client.d.ts").read_text()


def check_types() -> str:
    """Return the problems, "" if there are none."""
    return difference(CLIENT, (ROOT / CLIENT).read_text(), declarations())


def write_declarations() -> None:
    (ROOT / CLIENT).write_text(declarations())


COMMANDS: Final[dict[str, Callable[[], str | None]]] = {
    "lint": lint,
    "format": write_formatted,
    "types": check_types,
    "declare": write_declarations,
}

if __name__ == "__main__":
    sys.exit(COMMANDS[sys.argv[1]]() or 0)
