"""Envelopes of the previous release and of this one, each read by the other."""

from __future__ import annotations

import json

from tests.releases import ENVELOPES, RECORDED
from tests.releases.release import CURRENT, Release


def test_recorded_envelopes_say_what_they_said() -> None:
    recorded = json.loads((RECORDED / ENVELOPES).read_text())

    read = json.loads(CURRENT.envelopes("parse", json.dumps(recorded)))

    assert read == recorded["contents"]
    assert len(read) == len(recorded["envelopes"]) > 0
    assert not [content for content in read if "skipped" in content]


def test_new_envelopes_say_the_same_to_the_previous_release(previous: Release) -> None:
    written = CURRENT.envelopes("dump")

    assert json.loads(previous.envelopes("parse", written)) == json.loads(
        CURRENT.envelopes("parse", written)
    )
