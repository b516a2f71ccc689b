"""Import rules that import-linter (see pyproject.toml) can't check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import notifications

ROOT = Path(notifications.__file__).parent
MODULES = {str(path.relative_to(ROOT)): path for path in ROOT.rglob("*.py")}


def imported(path: Path) -> Iterator[str]:
    """Yield the full names that a module imports from other packages, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_the_sender_and_the_hubs_subscriptions_talk_to_the_channel_layer() -> None:
    users = {
        name
        for name, path in MODULES.items()
        if any(module.startswith("channels.layers") for module in imported(path))
    }
    assert users == {"channel_layer/sender.py", "channel_layer/subscriptions.py"}
    senders = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "group_send"
    }
    assert senders == {"channel_layer/sender.py"}


def test_public_modules_exist() -> None:
    public = [
        "admin",
        "asgi",
        "health",
        "models",
        "protocol",
        "routing",
        "server",
        "signals",
        "testing",
        "views",
    ]

    assert [name for name in public if not find_spec(f"notifications.{name}")] == []
    assert (ROOT / "py.typed").exists()
