"""`python -m harness.chaos [--seed …] [--notifications …] [--faults …] [--minutes …]`"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
from pathlib import Path

from harness.chaos import report
from harness.chaos.processes import Size
from harness.chaos.run import run
from harness.services import ROOT

OUTPUT = ROOT / "build/chaos"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of all that is drawn (default: a new one)")
    parser.add_argument("--notifications", type=int, default=50_000, help="default 50,000")
    parser.add_argument("--faults", type=int, default=120, help="default 120")
    parser.add_argument("--minutes", type=float, default=10, help="with faults (default 10)")
    parser.add_argument("--accounts", type=int, default=80, help="default 80")
    parser.add_argument(
        "--clients", type=int, default=3, help="connections of each account (default 3)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="where report, logs and frames go (default: build/chaos/<seed>)",
    )
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    directory = options.output or OUTPUT / str(seed)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    # Ended by whom it may be, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"Seed {seed}: {options.faults} faults in {options.minutes:g} minutes", flush=True)
    size = Size(
        options.notifications,
        options.faults,
        options.minutes,
        accounts=options.accounts,
        clients_per_account=options.clients,
    )
    result = run(seed, size, directory)
    report.write(result, directory)
    print(report.as_text(result))
    print(f"Report, logs and frames: {directory}")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
