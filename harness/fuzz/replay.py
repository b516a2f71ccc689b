"""Run inputs, by default all seeds, without the fuzzer: `… harness.fuzz.replay [target file…]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.fuzz.site import Site
from harness.fuzz.targets import TARGETS
from harness.services import postgres_server


def main() -> None:
    """Raise the error of the first input that fails."""
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
