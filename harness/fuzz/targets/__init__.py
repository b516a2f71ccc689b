"""
The targets: how an input is read, what must hold for every input, and the seed inputs.

Inputs are readable text, so that findings explain themselves: a line for each frame; the query and
the headers of a handshake, a line each; a request's first line, perhaps its type, and its body;
a path and headers.
"""

from __future__ import annotations

from typing import Final

from harness.fuzz.targets.base import Target
from harness.fuzz.targets.content_types import ContentTypes
from harness.fuzz.targets.control_frames import ControlFrames
from harness.fuzz.targets.envelopes import Envelopes
from harness.fuzz.targets.frames import Frames
from harness.fuzz.targets.handshakes import Handshakes
from harness.fuzz.targets.places import Places
from harness.fuzz.targets.requests import Requests

TARGETS: Final[dict[str, type[Target]]] = {
    "control": ControlFrames,
    "frames": Frames,
    "handshakes": Handshakes,
    "requests": Requests,
    "envelopes": Envelopes,
    "content-types": ContentTypes,
    "places": Places,
}
