"""The fuzzer's targets accept their seed inputs, and its report shows findings."""

from __future__ import annotations

import subprocess
import sys

from harness.fuzz.__main__ import Outcome

OUTPUT = """\
INFO: seed corpus: files: 5 min: 2b max: 75b total: 181b rss: 65Mb
#6	INITED cov: 1882 ft: 1890 corp: 4/170b exec/s: 0 rss: 66Mb
#64	NEW    cov: 1901 ft: 1950 corp: 5/190b lim: 75 exec/s: 32 rss: 66Mb L: 20/75 MS: 1 EraseBytes-
#2048	pulse  cov: 1910 ft: 2010 corp: 9/400b lim: 75 exec/s: 200 rss: 66Mb
"""


def test_the_report_counts_executions_and_covered_code():
    output = f"{OUTPUT}Done 2100 runs in 11 second(s)\n"

    assert str(Outcome.parse(output, 0)) == (
        "2,100 executions in 11 s, 1,910 edges (1,882 with the seeds), 9 inputs kept: no findings"
    )


def test_a_target_that_exits_early_has_a_finding():
    assert "FOUND A PROBLEM" in str(Outcome.parse(OUTPUT, 77))
    assert Outcome.parse("Traceback", 1) == Outcome(0, 0, 0, 0, 0, True)


def test_the_seed_inputs_have_no_findings():
    replayed = subprocess.run(
        [sys.executable, "-m", "harness.fuzz.replay"], capture_output=True, text=True, timeout=120
    )

    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert replayed.stdout.splitlines() == [
        "control: 4",
        "frames: 5",
        "handshakes: 8",
        "requests: 12",
        "envelopes: 11",
        "content-types: 24",
        "places: 8",
    ]
