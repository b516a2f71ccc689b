"""Try inputs without the fuzzer: `python -m harness.fuzz.replay [target file…]`; else all seeds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.fuzz.site import Site
from harness.fuzz.targets import TARGETS
from harness.services import postgres_server


def main() -> None:
    """Raise what the first input raises that is a finding."""
    name, *files = sys.argv[1:] or [""]
    with postgres_server() as postgres:
        os.environ["DATABASE_URL"] = postgres.create_database("replay")
        site = Site()
        for each in [name] if name else TARGETS:
            target = TARGETS[each](site)
            inputs = [Path(file).read_bytes() for file in files] or target.seeds
            for data in inputs:
                target(data)
            print(f"{each}: {len(inputs)}")


if __name__ == "__main__":
    main()
