"""No request leads to a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .requests import CHANGES, ITEMS, MARK, post

pytestmark = pytest.mark.django_db


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
_number = st.integers() | _json
_bodies = (
    st.fixed_dictionaries(
        {},
        optional={
            "as": st.sampled_from(["read", "unread", "archived", "inbox"]) | _json,
            "ids": st.lists(st.from_regex(r"[nb]\d{1,18}", fullmatch=True) | _json) | _json,
            "upto": st.fixed_dictionaries({"seq": _number, "broadcast_seq": _number}) | _json,
            "undo": st.fixed_dictionaries(
                {"as": st.sampled_from(["read", "inbox"]) | _json, "from": _number, "seq": _number}
            )
            | _json,
        },
    )
    | _json
)
_fuzzing = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_fuzzing
@given(body=_bodies.map(json.dumps) | st.binary(max_size=50))
def test_any_json_is_accepted_or_refused(browser: Client, body: str | bytes) -> None:
    answer = post(browser, body)

    assert answer.status_code in {200, 400}
    assert ("error" in answer.json()) == (answer.status_code == 400)


_texts = st.text(max_size=30) | st.integers().map(str)


@_fuzzing
@given(
    form=st.dictionaries(
        st.sampled_from(["as", "ids", "seq", "broadcast_seq", "next"]),
        _texts | st.lists(_texts, max_size=3) | st.sampled_from(["read", "n1", "b1"]),
    )
)
def test_any_form_is_accepted_or_refused(browser: Client, form: dict[str, Any]) -> None:
    answer = browser.post(MARK, form)

    assert answer.status_code in {302, 400}
    if answer.status_code == 302:
        assert "//" not in answer["Location"].partition("?")[0] or answer["Location"].startswith(
            "http://testserver/"
        )


@_fuzzing
@given(
    query=st.dictionaries(
        st.sampled_from(
            ["limit", "before", "unread", "seq", "broadcast_seq", "epoch", "scope", "next"]
        ),
        _texts | st.from_regex(r"n\d{1,19}b\d{1,19}", fullmatch=True),
    )
)
def test_any_parameter_is_accepted_or_refused(browser: Client, query: dict[str, str]) -> None:
    assert browser.get(ITEMS, query).status_code in {200, 400}
    assert browser.get(CHANGES, query).status_code in {200, 400}
    assert browser.get("/notifications/", query).status_code in {200, 302}
