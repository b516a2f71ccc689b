"""`python -m harness.soak [--minutes …] [--rounds …] [--sockets …] [--changes …] [--seed …]`"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
from pathlib import Path

from harness.services import ROOT
from harness.soak import report
from harness.soak.run import Size, run

OUTPUT = ROOT / "build/soak"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.soak", description=__doc__)
    parser.add_argument("--seed", type=int, help="of all that is drawn (default: a new one)")
    parser.add_argument(
        "--minutes", type=float, default=5, help="that each crowd stays (default 5)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="how many crowds come (default 2)")
    parser.add_argument("--sockets", type=int, default=1000, help="default 1000")
    parser.add_argument(
        "--changes", type=float, default=15, help="that happen in a second (default 15)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="where report and logs go (default: build/soak/<seed>)",
    )
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("one round has nothing to be compared with")
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    directory = options.output or OUTPUT / str(seed)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    # Ended by whom it may be, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
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
    report.write(result, directory)
    print(report.as_text(result))
    print(f"Report and logs: {directory}")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
