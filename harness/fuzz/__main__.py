"""`python -m harness.fuzz [--seconds …] [target …]`"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass

from harness.fuzz.targets import TARGETS
from harness.fuzz.targets.words import WORDS
from harness.services import ROOT, postgres_server

OUTPUT = ROOT / "build/fuzz"
MAX_INPUT_SIZE = 8192  # twice the size limit of a frame
INPUT_TIMEOUT_SECONDS = 20
MAX_MEMORY_MB = 1024


@dataclass(frozen=True)
class Outcome:
    """The result of fuzzing a target, read from libFuzzer's output."""

    executions: int
    covered_by_seeds: int  # edges in the code
    covered: int
    corpus: int  # kept inputs, each of which reached new code
    seconds: int
    has_finding: bool

    @classmethod
    def parse(cls, output: str, exit_code: int) -> Outcome:
        states = re.findall(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: \d+ corp: (\d+)", output, re.MULTILINE)
        executions, covered, corpus = map(int, states[-1]) if states else (0, 0, 0)
        ended = re.search(r"^Done (\d+) runs in (\d+) second", output, re.MULTILINE)
        return cls(
            int(ended[1]) if ended else executions,
            int(states[0][1]) if states else 0,
            covered,
            corpus,
            int(ended[2]) if ended else 0,
            exit_code != 0,
        )

    def __str__(self) -> str:
        return (
            f"{self.executions:,} executions in {self.seconds} s, {self.covered:,} edges "
            f"({self.covered_by_seeds:,} with the seeds), {self.corpus:,} inputs kept: "
            + ("FOUND A PROBLEM" if self.has_finding else "no findings")
        )


def fuzz(name: str, seconds: int, database: str) -> Outcome:
    """Fuzz a target, starting from its seeds and the inputs that earlier runs kept."""
    directory = OUTPUT / name
    seeds, corpus = directory / "seeds", directory / "corpus"
    for each in (seeds, corpus):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds):
        (seeds / f"{number}").write_bytes(seed)
    words = directory / "words"
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    log = directory / "log"
    options = {
        "max_total_time": seconds,
        "max_len": MAX_INPUT_SIZE,
        "timeout": INPUT_TIMEOUT_SECONDS,
        "rss_limit_mb": MAX_MEMORY_MB,
        "dict": words,
        "artifact_prefix": f"{directory}/",
    }
    with log.open("w") as file:
        code = subprocess.call(
            [sys.executable, "-m", "harness.fuzz.target", name]
            + [f"-{option}={value}" for option, value in options.items()]
            + [corpus, seeds],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "DATABASE_URL": database},
        )
    return Outcome.parse(log.read_text(errors="replace"), code)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=300, help="for each (default 300)")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    found = False
    with postgres_server() as postgres:
        for name in options.targets or TARGETS:
            outcome = fuzz(name, options.seconds, postgres.create_database(name))
            print(f"{name}: {outcome}", flush=True)
            found = found or outcome.has_finding
    print(f"Logs and inputs are in {OUTPUT}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
