"""
The protocol under anything that can happen to it, in any order, on the real code.

Numbering, marks, maintenance, `inbox/pages.py`, the views, the hub and the client in JavaScript are
the real ones. Time, the network, the channel layer and crashes are played.

MODEL_STORIES=1000 plays more stories than usual, MODEL_SEED=… begins with one that failed.
"""

from __future__ import annotations

import os

import pytest

from .conftest import Stage
from .story import make_up, shorten

STORIES = int(os.environ.get("MODEL_STORIES", "50"))
FIRST_SEED = int(os.environ.get("MODEL_SEED", "0"))
LENGTH = 60  # steps


def test_whatever_happens_all_tabs_show_what_the_database_has(stage: Stage) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + STORIES):
        story = make_up(seed, LENGTH)
        if stage.play(story):
            story = shorten(story, stage.play)
            failure = stage.play(story)
            pytest.fail("\n".join([f"MODEL_SEED={seed}", *stage.told, failure or "?"]))
