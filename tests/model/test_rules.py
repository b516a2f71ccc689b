"""
Without any one of its rules the protocol fails, and the model finds out: `make mutants`.

Named by hand only: what they guard changes seldom, and some take a minute.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

import pytest

from .conftest import Stage
from .rules import RULES, Rule
from .story import make_up
from .tabs import Browser

STORIES = int(os.environ.get("MODEL_TRIES", "300"))
LENGTH = 60


def first_failure(stage: Stage, rule: Rule) -> str | None:
    for seed in range(rule.first, rule.first + STORIES):
        if failure := stage.play(make_up(seed, LENGTH, rule.weights)):
            return failure
    return None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_is_needed(rule: Rule, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    rule.break_in(monkeypatch)
    with ExitStack() as stack:
        if rule.scripts:
            stage.browser = stack.enter_context(closing(Browser(rule.scripts)))
        assert first_failure(stage, rule)
