"""`python -m harness.chaos [--seed …] [--notifications …] [--faults …] [--minutes …]`"""

from __future__ import annotations

import argparse
import sys

from harness.chaos.cluster import Size, all_surroundings
from harness.chaos.report import as_text
from harness.chaos.run import run
from harness.command import add_options, begin, finish


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.chaos", description=__doc__)
    add_options(parser, "chaos")
    parser.add_argument("--notifications", type=int, default=50_000, help="default 50,000")
    parser.add_argument("--faults", type=int, default=120, help="default 120")
    parser.add_argument(
        "--minutes", type=float, default=10, help="how long faults are injected (default 10)"
    )
    parser.add_argument("--accounts", type=int, default=80, help="default 80")
    parser.add_argument(
        "--clients", type=int, default=3, help="connections of each account (default 3)"
    )
    options = parser.parse_args()
    seed, directory = begin("chaos", options)
    print(f"Seed {seed}: {options.faults} faults in {options.minutes:g} minutes", flush=True)
    surroundings = all_surroundings()
    if not surroundings.pgbouncer:
        print("LEFT OUT: PgBouncer, which is not installed (its executable is not on PATH)")
    size = Size(
        options.notifications,
        options.faults,
        options.minutes,
        accounts=options.accounts,
        clients_per_account=options.clients,
        surroundings=surroundings,
    )
    result = run(seed, size, directory)
    return finish(result, as_text(result), directory)


if __name__ == "__main__":
    sys.exit(main())
