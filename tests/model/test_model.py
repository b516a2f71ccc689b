"""
The protocol under anything that can happen to it, in any order, on the real code.

Numbering, marks, maintenance, `inbox/pages.py`, the views, the hub and the client in JavaScript are
the real ones. Time, the network, the channel layer and crashes are played.

MODEL_STORIES=1000 plays more stories, MODEL_SEED=… begins with one that failed:

    MODEL_SEED=5007 MODEL_STORIES=1 python -m pytest tests/model/test_model.py -k more
"""

from __future__ import annotations

import os

import pytest

from .conftest import Stage
from .story import make_up, shorten

USUAL_STORIES = 15  # in each of two tests, which run beside each other
FIRST_SEED = int(os.environ.get("MODEL_SEED", 2 * USUAL_STORIES))
STORIES = int(os.environ.get("MODEL_STORIES", "100"))
LENGTH = 60  # steps


@pytest.mark.parametrize("first", [0, USUAL_STORIES])
def test_whatever_happens_all_tabs_show_what_the_database_has(stage: Stage, first: int) -> None:
    play(stage, range(first, first + USUAL_STORIES))


@pytest.mark.verify
def test_so_it_is_in_more_stories(stage: Stage) -> None:
    play(stage, range(FIRST_SEED, FIRST_SEED + STORIES))


def play(stage: Stage, seeds: range) -> None:
    for seed in seeds:
        story = make_up(seed, LENGTH)
        if stage.play(story):
            story = shorten(story, stage.play)
            failure = stage.play(story)
            pytest.fail("\n".join([f"MODEL_SEED={seed}", *stage.told, failure or "?"]))
