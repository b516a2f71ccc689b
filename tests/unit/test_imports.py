"""Imports within notifications/ point one way: a module can be read without those above it."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

import notifications

ROOT = Path(notifications.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
    if "migrations" not in path.parts
}

# From the bottom to the top; a module imports only from rows above its own, or its own row.
LAYERS = [
    {"channel_layer", "db", "hub", "inbox", "lifecycle", "servers", "sessions"},  # empty packages
    {
        "channel_layer.background_loop",
        "db.bulk",
        "conf",
        "protocol",
        "signals",
        "db.thread",
        "servers.logs",
        "servers.daphne",
        "db.transactions",
        "servers.base",
        "servers.tuning",
    },
    {"audiences", "accounts", "channel_layer.envelopes"},
    {"channel_layer.sender", "channel_layer.hub_commands"},
    {"models.message", "models.inboxes", "models.connections"},
    {"models.notifications", "models.broadcasts"},
    {"models"},
    {
        "presence",
        "inbox.pages",
        "inbox.changes",
        "lifecycle.numbering",
        "lifecycle.publishing",
        "sessions.authentication",
        "checks",
    },
    {"lifecycle.retraction", "sessions.revocation", "hub.connection"},
    {"hub.session_check"},
    {"lifecycle.retention"},
    {"inbox.marks", "maintenance"},
]


def imported(path: Path) -> Iterator[str]:
    """Yield the full names of what a module imports, at its top or later, relative or not."""
    package = ".".join(["notifications", *path.relative_to(ROOT).parts[:-1]])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(relative, package) if node.level else relative
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def own_imports(module: str) -> set[str]:
    """Return the modules of notifications/ that this one imports."""
    names = (name.removeprefix("notifications.") for name in imported(MODULES[module]))
    return {name for name in names if name in MODULES} - {module}


def test_the_parser_sees_every_way_to_import() -> None:
    assert {"notify", "presence"} <= own_imports("__init__")  # relative, within functions
    assert {"inbox.pages", "lifecycle.numbering"} <= own_imports("hub.hub")  # from . import several
    assert "maintenance" in own_imports("management.commands.notification_maintenance")  # absolute
    assert "models" in own_imports("checks")  # late


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_imports_the_site_or_the_tests(module: str) -> None:
    roots = {name.partition(".")[0] for name in imported(MODULES[module])}

    assert not roots & {"notify_site", "tests"}


@pytest.mark.parametrize("module", sorted(set.union(*LAYERS)))
def test_a_lower_module_imports_no_higher_one(module: str) -> None:
    level = next(n for n, layer in enumerate(LAYERS) if module in layer)
    allowed = set.union(*LAYERS[: level + 1])

    assert own_imports(module) <= allowed


def reached(module: str) -> set[str]:
    """Return all the modules that come along when this one is imported."""
    found: set[str] = set()
    todo = [module]
    while todo:
        new = own_imports(todo.pop()) - found
        found |= new
        todo += new
    return found


def test_protocol_and_conf_import_nothing_of_the_app() -> None:
    assert own_imports("protocol") == own_imports("conf") == set()


@pytest.mark.parametrize("module", ["hub.hub", "hub.consumer"])
def test_sockets_and_notify_meet_only_through_protocol_and_the_channel_layer(module: str) -> None:
    assert "notify" not in reached(module)
    assert not reached("notify") & {
        "hub.hub",
        "hub.consumer",
        "hub.connection",
        "servers.base",
    }


def test_what_is_written_knows_nothing_of_who_shows_it() -> None:
    modules = reached("notify")

    assert not modules & {"views", "forms", "inbox.marks", "maintenance"}
    assert "admin" not in {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_imports_go_in_a_circle(module: str) -> None:
    assert module == "__init__" or module not in reached(module)


def test_only_the_sender_and_the_hubs_subscriptions_talk_to_the_channel_layer() -> None:
    users = {
        module
        for module in MODULES
        if any(name.startswith("channels.layers") for name in imported(MODULES[module]))
    }
    assert users <= {"channel_layer.sender", "channel_layer.subscriptions"}
    senders = {module for module in MODULES if "group_send" in MODULES[module].read_text()}
    assert senders <= {"channel_layer.sender"}


def test_everything_written_in_the_design_is_there() -> None:
    assert {
        "notify",
        "models",
        "inbox.pages",
        "lifecycle.numbering",
        "protocol",
        "hub.hub",
        "servers.base",
    } <= set(MODULES)
    assert (ROOT / "py.typed").exists()
