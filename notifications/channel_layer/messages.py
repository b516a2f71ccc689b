"""Messages that other code sends through the channel layer itself."""

from __future__ import annotations

from typing import Any

from notifications.protocol import Frame

from . import envelopes, site
from .envelopes import PlainFrame


def account_message(frame: Frame) -> dict[str, Any]:
    """Implements `protocol.account_message`."""
    plain = PlainFrame.of(frame)
    if known := site.reader.wait():
        return envelopes.dump(plain, known)
    # The database does not answer, which was logged. Hubs drop this, and log why.
    return {"type": PlainFrame.TYPE, "frame": frame}
