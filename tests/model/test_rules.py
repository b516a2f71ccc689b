"""
Without any one of its rules the protocol fails, and the model detects it: `make mutants`.

Not part of `make test` or `make verify`: the rules rarely change, and some take a minute.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

import pytest

from .conftest import StoryRunner
from .rules import RULES, Rule
from .story import make_up
from .tabs import Browser

STORIES = int(os.environ.get("MODEL_TRIES", "300"))
STEPS = 60


def first_failure(runner: StoryRunner, rule: Rule) -> str | None:
    for seed in range(rule.first, rule.first + STORIES):
        if failure := runner.run(make_up(seed, STEPS, rule.weights)):
            return failure
    return None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_is_needed(
    rule: Rule, runner: StoryRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule.break_it(monkeypatch)
    with ExitStack() as stack:
        if rule.scripts:
            runner.browser = stack.enter_context(closing(Browser(rule.scripts)))
        assert first_failure(runner, rule)
