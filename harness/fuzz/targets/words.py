"""Words that random inputs would hardly ever contain."""

from __future__ import annotations

from typing import Final

WORDS: Final = [
    *("type", "heartbeat", "content", "ids", "as", "read", "unread", "archived", "inbox", "undo"),
    *("upto", "from", "seq", "broadcast_seq", "epoch", "scope", "account", "everyone", "limit"),
    *("before", "important", "next", "n1", "b1", "true", "null", "NaN", "1e999"),
    "9223372036854775808",
    *("%00", "%ff", "\\\\ud800", "\\\\u0000", "sessionid=", "origin:", "cookie:", "host:"),
    *("entries", "sent_at", "sessions", "connections", "code", "gone", "audience", "frame"),
    *("notifications.push", "notifications.frames", "notifications.broadcast", "1800000000"),
    *("charset=", "charset*=", "utf-8", "utf-16", "hex", "rot13", "undefined", "idna", "boundary="),
    *("Daphne-Root-Path:", "X-Forwarded-For:", "X-Forwarded-Port:", "X-Forwarded-Proto:", "/shop"),
    *("GET ", "POST ", "items/", "changes/", "mark/", "application/json", "multipart/form-data"),
]
