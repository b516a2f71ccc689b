"""Without any one of its rules the protocol fails, and the model finds out."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from .conftest import Stage
from .rules import RULES, Rule
from .story import make_up
from .tabs import Browser

STORIES = int(os.environ.get("MODEL_TRIES", "300"))
LENGTH = 60


def first_failure(stage: Stage, weights: Mapping[str, int]) -> str | None:
    for seed in range(STORIES):
        if failure := stage.play(make_up(seed, LENGTH, weights)):
            return failure
    return None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_is_needed(rule: Rule, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    if rule.is_of_client:
        stage.browser = Browser({rule.place: (rule.line, rule.instead)})
    else:
        rule.break_in(monkeypatch)
    try:
        assert first_failure(stage, rule.weights)
    finally:
        if rule.is_of_client:
            stage.browser.close()
