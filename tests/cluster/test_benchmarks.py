"""A short run of the benchmark: it must count right; how fast anything is, it does not judge."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from harness.benchmarks import report
from harness.benchmarks.runner import run
from harness.services import ROOT


@pytest.mark.verify(90)
def test_nothing_is_missing_and_nothing_comes_twice(tmp_path):
    results = run(
        ["memory", "heartbeat", "broadcast", "sustained", "targeted", "persisted", "back"],
        ["daphne", "uvicorn", "plain"],
        repeat=1,
        sockets=[60],
    )

    assert results["problems"] == []
    by_peer = {
        peer: {sample["figure"] for sample in results["samples"] if sample["peer"] == peer}
        for peer in ("daphne", "uvicorn", "plain")
    }
    assert by_peer["daphne"] == by_peer["uvicorn"] >= by_peer["plain"]
    assert {"broadcast CPU", "sustained deliveries", "all back"} <= by_peer["plain"]
    assert all(sample["value"] == sample["value"] for sample in results["samples"])

    report.write(results, tmp_path, tmp_path)
    assert json.loads((tmp_path / "latest.json").read_text()) == results
    assert "Notify Site, Daphne" in (tmp_path / "latest.md").read_text()


@pytest.mark.verify(20)
def test_a_slow_reader_and_many_accounts_keep_nobody_waiting():
    results = run(["slow", "held"], ["daphne"], repeat=1, sockets=[60])

    assert results["problems"] == []


@pytest.mark.verify(20)
def test_the_hot_queries_are_all_timed(tmp_path):
    report = tmp_path / "queries.md"
    command = [
        sys.executable,
        "-m",
        "harness.benchmarks.queries",
        "--rows",
        "10000",
        "--output",
        report,
    ]

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert result.returncode == 0, result.stdout + result.stderr
    figures = [
        line for line in report.read_text().splitlines() if re.search(r"\| [\d.,]+ \(", line)
    ]
    assert len(figures) == 20
