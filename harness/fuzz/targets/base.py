"""What all targets share."""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

from harness.fuzz.site import Site

ANSWER_TIMEOUT_SECONDS: Final = 10.0
ORIGIN: Final = "http://testserver"


class Target(Protocol):
    seeds: ClassVar[list[bytes]]

    def __init__(self, site: Site) -> None: ...

    def __call__(self, data: bytes) -> None:
        """Try this input; raise if the result is wrong."""


def printable(head: bytes) -> bytes:
    """Return the text without control characters, which servers refuse; keep line feeds."""
    return head.translate(None, bytes({*range(32), 127} - {10}))
