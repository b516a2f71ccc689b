"""A short run of the fault suite."""

from __future__ import annotations

import pytest

from harness.chaos.cluster import Size, all_surroundings
from harness.chaos.run import run


@pytest.mark.verify(130)
def test_faults_lose_duplicate_and_reorder_nothing(tmp_path):
    size = Size(
        notifications=3000,
        faults=30,
        minutes=1,
        accounts=30,
        clients_per_account=2,
        surroundings=all_surroundings(),
    )

    report = run(seed=2, size=size, directory=tmp_path)

    assert report["problems"] == []
    assert {name: cases for name, cases in report["cases"].items() if cases} == {}
    assert report["committed notifications"] >= 3000
    assert sum(report["faults"].values()) == 30
    assert report["clients"]["items shown"] > 3000
    assert report["counts in frames"]["checked"] > 3000
    assert all(
        report["layer messages"][fault] for fault in ("dropped", "doubled", "repeated", "delayed")
    )
