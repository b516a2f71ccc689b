"""Private parts of other projects are used in adapters only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "notifications"
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}

# Documented, although they begin with an underscore.
DOCUMENTED = {"_asdict", "_base_manager", "_default_manager", "_exit", "_meta", "_state"}
# Adapters, and the names that only they may use, besides those with an underscore.
ADAPTERS = {
    "channel_layer/taps.py": {"receive_buffer"},
    "servers/daphne.py": {"STATE_OPEN", "dataBuffer", "onFrameEnd", "sendData", "send_queue"},
    "servers/daphne_bodies.py": {
        "basic_error",
        "gotLength",
        "handleContentChunk",
        "requestReceived",
    },
    "servers/daphne_server.py": {
        "application_checker",
        "application_instance",
        "check_timeouts",
        "dropConnection",
        "is_closed",
        "pformat",
        "setProtocolOptions",
        "timeout_checker",
        "ws_factory",
    },
    "servers/uvicorn.py": {
        "close_sent",
        "connection_lost_waiter",
        "handle_events",
        "max_message_size",
        "recv_frame",
        "writable",
    },
}


def private_attributes(source: str) -> Iterator[str]:
    """Yield the attributes with an underscore of anything but `self` and `cls`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and re.match(r"_(?!_)", node.attr):
            owner = node.value
            if not (isinstance(owner, ast.Name) and owner.id in {"cls", "self"}):
                yield node.attr


@pytest.mark.parametrize("path", SOURCES)
def test_only_adapters_use_private_parts(path: str) -> None:
    if path in ADAPTERS:
        return
    used = set(private_attributes(SOURCES[path]))
    names = set().union(*ADAPTERS.values())

    assert used <= DOCUMENTED
    assert not names & set(re.findall(r"\w+", SOURCES[path]))


@pytest.mark.parametrize("path", ADAPTERS)
def test_the_adapters_use_what_is_listed_here(path: str) -> None:
    assert ADAPTERS[path] <= set(re.findall(r"\w+", SOURCES[path]))
