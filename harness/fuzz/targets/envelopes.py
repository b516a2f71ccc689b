"""The type of an envelope, and below it the text that is signed."""

from __future__ import annotations

import json
import math
import time
from typing import Any, ClassVar

from harness.fuzz.site import Site


class Envelopes:
    """
    Nothing but what is signed is read from the channel layer, and nothing raises an error.

    What is read can be sent to browsers, and arrives once more as it is.
    """

    seeds: ClassVar = [
        b'notifications.push\n{"sent_at":1800000000,"entries":[["1",3,4,5,6,7],["2",1,1,1,null,null]]}'
        b'\n{"type":"state"}\n{"type":"order_paid","seq":1}',
        b'notifications.push\n{"sent_at":1800000000,"entries":[["1",1,100000000000000000,0,0,0]]}\n{}',
        b'notifications.frames\n{"sent_at":1800000000.5,"entries":[["1"],[],5]}\n{"body":"\xc3\xbc"}',
        b'notifications.frame\n{"sent_at":1800000000}\n{"type":"progress"}',
        b'notifications.look\n{"sent_at":1800000000,"entries":[["1"],["2"]]}',
        b'notifications.broadcast\n{"sent_at":1800000000,"seq":9,"audience":"staff",'
        b'"created_at":"2026-01-01T00:00:00+00:00","gone":false}\n{"type":"news"}',
        b'notifications.end\n{"sent_at":1800000000,"sessions":["a",null],"code":4401}',
        b'notifications.close\n{"sent_at":1,"connections":["a"],"code":99999999999999999999}',
        b'notifications.frame\n{"frame":{"type":"progress","content":{"body":"50 %"}}}',
        b'notifications.push\n{"v":2,"signed":"{}","digest":"00","entries":[{"account":"1"}]}',
        b'shop.hello\n{"sent_at":NaN}\n\n\n',
    ]

    def __init__(self, site: Site) -> None:
        from notifications.channel_layer import envelopes, replays, signing
        from notifications.channel_layer.site import Site as ChannelSite

        self._site = site
        self._module: Any = envelopes
        self._sign: Any = signing.digest
        self._make_site: Any = ChannelSite
        self._make_replays: Any = replays.Replays

    def __call__(self, data: bytes) -> None:
        kind, _, text = data.decode(errors="replace").partition("\n")
        version = self._module.VERSION
        sender = self._make_site("fuzzed", 1_800_000_000 - time.monotonic())  # always the same time
        signed = {
            "type": kind,
            "v": version,
            "signed": text,
            "digest": self._sign(sender.name, kind, version, text),
        }
        others = [
            {**signed, "digest": self._sign("another site", kind, version, text)},
            {**signed, "v": 1},
            {**signed, "signed": f"{text}\n"},
            {**_object(text), "type": kind},
        ]
        content = self._parse(signed, sender)
        if content is not None:
            for frame in content.frames():
                frame.encode()
            assert self._parse(self._module.dump(content, sender), sender) == content, content
        for message in others:
            assert self._parse(message, sender) is None, message
        self._site.check_log()

    def _parse(self, message: dict[str, Any], site: Any) -> Any:
        reports: list[str] = []
        replays = self._make_replays(since=-math.inf)
        arrival = self._module.Arrival(
            "1", {"1", "2"}, lambda *report: reports.extend(report), site, replays
        )
        content = self._module.parse(message, arrival)
        assert content is not None or reports or _is_elsewhere(message), message
        return content


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object in the first line, empty if there is none."""
    try:
        found = json.loads(text.partition("\n")[0])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_elsewhere(message: dict[str, Any]) -> bool:
    """Whether an envelope has entries, which may all be for accounts without connections."""
    return isinstance(_object(str(message.get("signed"))).get("entries"), list)
