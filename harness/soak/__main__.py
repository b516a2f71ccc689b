"""`python -m harness.soak [--minutes …] [--rounds …] [--sockets …] [--changes …] [--seed …]`"""

from __future__ import annotations

import argparse
import sys

from harness.command import add_options, begin, finish
from harness.soak.report import as_text
from harness.soak.run import Size, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.soak", description=__doc__)
    add_options(parser, "soak")
    parser.add_argument(
        "--minutes", type=float, default=5, help="that each crowd stays (default 5)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="how many crowds come (default 2)")
    parser.add_argument("--sockets", type=int, default=1000, help="default 1000")
    parser.add_argument(
        "--changes", type=float, default=15, help="that happen in a second (default 15)"
    )
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("one round has nothing to be compared with")
    seed, directory = begin("soak", options)
    print(
        f"Seed {seed}: {options.rounds} times {options.sockets} sockets "
        f"for {options.minutes:g} minutes",
        flush=True,
    )
    size = Size(
        options.minutes,
        options.rounds,
        sockets=options.sockets,
        accounts=max(1, options.sockets // 2),
        changes_per_second=options.changes,
    )
    result = run(seed, size, directory)
    return finish(result, as_text(result), directory)


if __name__ == "__main__":
    sys.exit(main())
