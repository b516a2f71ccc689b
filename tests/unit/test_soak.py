"""The soak detects leaks."""

from __future__ import annotations

from harness.soak.report import as_text
from harness.soak.run import differences

BEFORE = {
    "daphne 0": {"files": 20, "memory": 100 * 2**20, "objects": 16_000},
    "presence": {"connections": 0},
}


def after(**counts: int) -> dict[str, dict[str, int]]:
    return {"daphne 0": {**BEFORE["daphne 0"], **counts}, "presence": {"connections": 0}}


def test_equal_or_lower_counts_are_no_leak():
    assert differences(BEFORE, after()) == differences(BEFORE, after(files=19)) == []


def test_one_more_file_is_a_leak():
    assert differences(BEFORE, after(files=21)) == ["daphne 0: 21 files, up from 20"]


def test_memory_and_objects_may_grow_a_little():
    assert differences(BEFORE, after(memory=112 * 2**20, objects=17_900)) == []
    assert len(differences(BEFORE, after(memory=120 * 2**20, objects=18_100))) == 2


def test_a_presence_row_is_a_leak():
    left = {**after(), "presence": {"connections": 1}}

    assert differences(BEFORE, left) == ["presence: 1 connections, up from 0"]


def test_the_report_shows_the_counts_after_and_during_each_round():
    text = as_text(
        {
            "seed": 3,
            "passed": False,
            "seconds": 61.2,
            "size": {
                "rounds": 2,
                "connections": 1000,
                "accounts": 500,
                "minutes": 1,
                "actions_per_second": 15,
            },
            "counts": {"connections": 2000},
            "rounds": [BEFORE, after(files=21)],
            "samples": [{"at": 30.0, **after(files=520)}],
            "leaks": differences(BEFORE, after(files=21)),
            "problems": [],
        }
    )

    assert "Seed 3: FAILED in 61 s" in text
    assert "files                 after each round 20, 21; meanwhile 520" in text
    assert "LEAK: daphne 0: 21 files, up from 20" in text
