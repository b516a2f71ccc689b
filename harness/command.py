"""What the commands of harness/ share: options, a seed, a clean exit and a report."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from harness.services import ROOT

Report = dict[str, Any]


def exit_on_sigterm() -> None:
    """Let SIGTERM unwind all context managers, which stop the processes that they started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--seed", type=int, help="of the random choices (default: a new one)")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help=f"for the report and logs (default: build/{name}/<seed>)",
    )


def begin(name: str, options: argparse.Namespace) -> tuple[int, Path]:
    """Return the seed and an empty directory for the report and logs."""
    exit_on_sigterm()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    directory = options.output or ROOT / "build" / name / str(seed)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return seed, directory


def finish(report: Report, text: str, directory: Path) -> int:
    """Write and print the report; return the exit code."""
    (directory / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (directory / "report.txt").write_text(text + "\n")
    print(text)
    print(f"Report and logs are in {directory}")
    return 0 if report["passed"] else 1
