"""
One target under libFuzzer: `python -m harness.fuzz.target frames [options] [folders of inputs]`.

DATABASE_URL must be an empty database. It exits with 77 at the first finding.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import atheris


def main() -> None:
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["notifications", "django.http"]):
        target: Any = import_module("harness.fuzz.targets").TARGETS[name](
            import_module("harness.fuzz.site").Site()
        )
    atheris.Setup([name, *arguments], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
