"""
Envelopes of one release: `python release_envelopes.py dump`, or `parse` with them as its input.

It uses what is not documented, and is renamed with it. So a release is recorded with its own copy.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

import django

django.setup()

from notifications.channel_layer.envelopes import (  # noqa: E402
    AccountFrame,
    AccountFrames,
    Arrival,
    BroadcastUpdate,
    ChangedAccount,
    ChangedAccounts,
    CloseConnections,
    EndSessions,
    LiveUpdate,
    LiveUpdates,
    PlainFrame,
    dump,
    parse,
)
from notifications.channel_layer.replays import Replays  # noqa: E402
from notifications.channel_layer.site import Site  # noqa: E402
from notifications.protocol import CloseCode  # noqa: E402

ACCOUNT = "7"
CONTENTS = [
    LiveUpdates(
        [
            LiveUpdate(ACCOUNT, 3, 4, 2, 1, 9, '{"type":"hello","seq":4}'),
            LiveUpdate(ACCOUNT, 5, 5, None, None, None, '{"type":"state","seq":5,"as":"read"}'),
            LiveUpdate("8", 1, 1, 1, 0, 9, '{"type":"hello","seq":1}'),
        ]
    ),
    AccountFrames([AccountFrame(ACCOUNT, '{"type":"progress","content":{"body":"\u4e00"}}')]),
    ChangedAccounts([ChangedAccount(ACCOUNT)]),
    PlainFrame.of({"type": "progress", "content": {"body": "Half done", "meta_data": ""}}),
    BroadcastUpdate(10, "staff", datetime(2026, 12, 1, tzinfo=UTC), False, '{"type":"news"}'),
    BroadcastUpdate(11, "everyone", datetime(2026, 12, 1, tzinfo=UTC), True, '{"type":"state"}'),
    EndSessions(["a session"], CloseCode.NOT_LOGGED_IN),
    CloseConnections(["a connection"], CloseCode.EVICTED),
]


def write() -> dict[str, Any]:
    site = Site("the site", 0.0)
    sent_at = site.now()
    return {
        "site": site.name,
        "sent_at": sent_at,
        "account": ACCOUNT,
        "envelopes": [dump(content, site) for content in CONTENTS],
    }


def read(recorded: dict[str, Any]) -> list[str]:
    """Return the contents of envelopes, as text, or why they are skipped."""
    begun = time.monotonic()
    site = Site(recorded["site"], recorded["sent_at"] - begun)
    account, found = recorded["account"], []
    for envelope in recorded["envelopes"]:
        skipped: list[str] = []
        arrival = Arrival(
            account,
            {account},
            lambda *why, to=skipped: to.append(f"skipped: {why}"),
            site,
            Replays(begun - 1),
        )
        content = parse(envelope, arrival)
        found.append("; ".join(filter(None, [repr(content) if content else "", *skipped])))
    return found


if __name__ == "__main__":
    result = write() if sys.argv[1] == "dump" else read(json.load(sys.stdin))
    json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
