"""A short run of the benchmark, which checks its counts but not its speed."""

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
def test_each_client_receives_each_message_once(tmp_path):
    results = run(
        ["memory", "heartbeat", "broadcast", "sustained", "targeted", "persisted", "reconnect"],
        ["daphne", "uvicorn", "plain"],
        repeat=1,
        connections=[60],
    )

    assert results["problems"] == []
    by_peer = {
        peer: {sample["figure"] for sample in results["samples"] if sample["peer"] == peer}
        for peer in ("daphne", "uvicorn", "plain")
    }
    assert by_peer["daphne"] == by_peer["uvicorn"] >= by_peer["plain"]
    assert {"broadcast CPU", "sustained deliveries", "reconnect: seconds"} <= by_peer["plain"]
    assert all(sample["value"] == sample["value"] for sample in results["samples"])

    report.write(results, tmp_path, tmp_path)
    assert json.loads((tmp_path / "latest.json").read_text()) == results
    assert "Notify Site, Daphne" in (tmp_path / "latest.md").read_text()


@pytest.mark.verify(20)
def test_a_slow_client_delays_nobody():
    results = run(["slow", "loop"], ["daphne"], repeat=1, connections=[60])

    assert results["problems"] == []


@pytest.mark.verify(20)
def test_all_hot_queries_are_timed(tmp_path):
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
