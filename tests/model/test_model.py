"""
The protocol under random events in any order, with the real code.

Numbering, marks, maintenance, `inbox/pages.py`, the views, the hub and the JavaScript client are
real. Time, the network, the channel layer and crashes are simulated.

MODEL_STORIES=1000 runs more stories, MODEL_SEED=… starts with one that failed:

    MODEL_SEED=5007 MODEL_STORIES=1 python -m pytest tests/model/test_model.py -k more
"""

from __future__ import annotations

import os

import pytest

from .conftest import StoryRunner
from .story import make_up, shorten

STORIES_PER_TEST = 15  # in each of two tests, which can run in parallel
FIRST_SEED = int(os.environ.get("MODEL_SEED", 2 * STORIES_PER_TEST))
STORIES = int(os.environ.get("MODEL_STORIES", "100"))
STEPS = 60


@pytest.mark.parametrize("first", [0, STORIES_PER_TEST])
def test_whatever_happens_all_tabs_agree_with_the_database(runner: StoryRunner, first: int) -> None:
    run(runner, range(first, first + STORIES_PER_TEST))


@pytest.mark.verify
def test_more_stories_agree_too(runner: StoryRunner) -> None:
    run(runner, range(FIRST_SEED, FIRST_SEED + STORIES))


def run(runner: StoryRunner, seeds: range) -> None:
    for seed in seeds:
        story = make_up(seed, STEPS)
        if runner.run(story):
            story = shorten(story, runner.run)
            failure = runner.run(story)
            pytest.fail("\n".join([f"MODEL_SEED={seed}", *runner.log, failure or "?"]))
