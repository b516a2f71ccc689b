"""`python -m harness.soak [--minutes …] [--rounds …] [--connections …] [--actions …] [--seed …]`"""

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
        "--minutes", type=float, default=5, help="how long each crowd stays (default 5)"
    )
    parser.add_argument(
        "--rounds", type=int, default=2, help="how often the crowd comes (default 2)"
    )
    parser.add_argument("--connections", type=int, default=1000, help="default 1000")
    parser.add_argument("--actions", type=float, default=15, help="actions per second (default 15)")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds must be 2 or more, to compare them")
    seed, directory = begin("soak", options)
    print(
        f"Seed {seed}: {options.rounds} times {options.connections} connections "
        f"for {options.minutes:g} minutes",
        flush=True,
    )
    size = Size(
        options.minutes,
        options.rounds,
        connections=options.connections,
        accounts=max(1, options.connections // 2),
        actions_per_second=options.actions,
    )
    result = run(seed, size, directory)
    return finish(result, as_text(result), directory)


if __name__ == "__main__":
    sys.exit(main())
