"""`python -m harness.benchmarks [SCENARIO...] [--peers …] [--repeat …]`"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.benchmarks import report
from harness.benchmarks.peers import PEERS
from harness.benchmarks.runner import run
from harness.benchmarks.scenarios import SCENARIOS
from harness.command import exit_on_sigterm
from harness.services import ROOT

RESULTS = Path(__file__).resolve().parent / "results"
PICTURES = ROOT / "docs/images"


def main() -> int:
    names = list(dict.fromkeys(scenario.name for scenario in SCENARIOS))
    peers = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m harness.benchmarks", description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"all, or some of: {', '.join(names)}")
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=peers,
        default=peers,
        metavar="PEER",
        help=f"some of: {', '.join(peers)}",
    )
    parser.add_argument("--repeat", type=int, default=5, help="repetitions (default 5)")
    parser.add_argument(
        "--connections",
        type=int,
        nargs="+",
        metavar="N",
        help="instead of each scenario's own numbers",
    )
    parser.add_argument(
        "--minutes", type=float, default=60, help="start nothing new after this time (default 60)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="for latest.json, latest.md and the plots (default: their place in the repository, "
        "if all scenarios, peers and sizes are run)",
    )
    options = parser.parse_args()
    if unknown := set(options.scenario) - set(names):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    exit_on_sigterm()
    results = run(
        options.scenario or names,
        options.peers,
        repeat=options.repeat,
        connections=options.connections,
        minutes=options.minutes,
    )
    if options.output:
        report.write(results, options.output, options.output)
    elif not options.scenario and options.peers == peers and not options.connections:
        report.write(results, RESULTS, PICTURES)
    print(report.as_text(results))
    return 1 if results["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
