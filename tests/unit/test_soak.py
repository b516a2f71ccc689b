"""The soak can fail: what it takes for having been left."""

from __future__ import annotations

from harness.soak.report import as_text
from harness.soak.run import differences

BEFORE = {
    "daphne 0": {"files": 20, "memory": 100 * 2**20, "objects": 16_000},
    "registry": {"connections": 0},
}


def after(**counts: int) -> dict[str, dict[str, int]]:
    return {"daphne 0": {**BEFORE["daphne 0"], **counts}, "registry": {"connections": 0}}


def test_what_is_as_before_or_less_is_no_difference():
    assert differences(BEFORE, after()) == differences(BEFORE, after(files=19)) == []


def test_one_file_more_was_left():
    assert differences(BEFORE, after(files=21)) == ["daphne 0: 21 files where there were 20"]


def test_memory_and_objects_may_grow_a_little():
    assert differences(BEFORE, after(memory=112 * 2**20, objects=17_900)) == []
    assert len(differences(BEFORE, after(memory=120 * 2**20, objects=18_100))) == 2


def test_a_row_in_the_registry_was_left():
    left = {**after(), "registry": {"connections": 1}}

    assert differences(BEFORE, left) == ["registry: 1 connections where there were 0"]


def test_the_report_shows_what_each_round_left_and_what_was_meanwhile():
    text = as_text(
        {
            "seed": 3,
            "passed": False,
            "seconds": 61.2,
            "size": {
                "rounds": 2,
                "sockets": 1000,
                "accounts": 500,
                "minutes": 1,
                "changes_per_second": 15,
            },
            "happened": {"connections": 2000},
            "rounds": [BEFORE, after(files=21)],
            "samples": [{"at": 30.0, **after(files=520)}],
            "left": differences(BEFORE, after(files=21)),
            "problems": [],
        }
    )

    assert "Seed 3: FAILED in 61 s" in text
    assert "files                 after each round 20, 21; meanwhile 520" in text
    assert "LEFT: daphne 0: 21 files where there were 20" in text
