"""A short run of the soak: a crowd comes, churns and goes, and nothing of it is left."""

from __future__ import annotations

import pytest

from soak.run import Size, run


@pytest.mark.slow
def test_nothing_is_left_of_a_crowd_that_has_gone(tmp_path):
    size = Size(minutes=2, changes_per_second=15, warm_up=15, samples=4)

    report = run(seed=3, size=size, directory=tmp_path)

    assert (report["left"], report["problems"]) == ([], [])
    happened = report["happened"]
    for what in ("closed", "cut off", "fell asleep", "logged out", "marked all read", "notified"):
        assert happened[what] > 10
    assert happened["connections"] > 2 * size.sockets
    for sample in report["samples"]:
        assert sample["daphne 0"]["sockets"] + sample["uvicorn 1"]["sockets"] > size.sockets / 2
