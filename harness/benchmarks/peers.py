"""The servers that are compared: how each is started, what a client sends it and who calls it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.accounts import session_key
from harness.benchmarks import measure
from harness.benchmarks.callers import HttpCaller, PlainCaller, SiteCaller
from harness.benchmarks.database import empty_inboxes
from harness.frames import upgrade_request
from harness.remote import Remote
from harness.services import Service, free_port, site_environment
from harness.surroundings import Surroundings

HERE = Path(__file__).resolve().parent
BUILD_TIMEOUT = 300  # seconds


class Missing(Exception):
    """Why a peer can't take part on this machine."""


class ServerProcess(Service):
    """One process of a peer, up when it takes connections."""

    def __init__(
        self, command: Sequence[str | Path], directory: Path, port: int, env: Mapping[str, str]
    ) -> None:
        super().__init__(command, directory, env=site_environment(env))
        self.port = port

    def answers(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        return True


@dataclass
class Running:
    """A peer that is up, with the process that calls it."""

    peer: Peer
    servers: list[ServerProcess]
    caller: Remote
    surroundings: Surroundings

    @property
    def server_pids(self) -> list[int]:
        return [server.pid for server in self.servers]

    @property
    def pids(self) -> list[int]:
        """All that are involved in a push, but for the caller and the load generator."""
        return self.server_pids + (self.surroundings.pids if self.peer.uses_surroundings else [])

    def requests(self, first: int, count: int) -> list[tuple[int, bytes]]:
        """Handshakes of the accounts from `first` on, over the server processes in turn."""
        ports = [server.port for server in self.servers]
        return [
            (port, self.peer.request(account, port))
            for account in range(first, first + count)
            for port in [ports[account % len(ports)]]
        ]

    def output(self) -> str:
        return "".join(server.output() for server in self.servers)

    def get_json(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.servers[0].port, timeout=60)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"{path} answered {answer.status}")
            return json.load(answer)
        finally:
            connection.close()


class Peer:
    name: str  # as the command line has it
    title: str  # as tables and plots have it
    processes = 1
    uses_surroundings = True
    is_ours = False
    # Whether it ends sockets that say nothing for long.
    beats = True
    # Whether a broadcast takes so long that only few of them can be waited for.
    is_slow = False

    def command(self, port: int) -> Sequence[str | Path]:
        """Return the command of one server process; raise Missing if it can't run here."""
        raise NotImplementedError

    def request(self, account: int, port: int) -> bytes:
        """Return an account's handshake."""
        raise NotImplementedError

    def caller(self, env: dict[str, str], ports: list[int]) -> Remote:
        raise NotImplementedError

    @contextmanager
    def running(self, around: Surroundings) -> Iterator[Running]:
        empty_inboxes(around)
        with ExitStack() as stack:
            servers = []
            for _ in range(self.processes):
                directory = stack.enter_context(TemporaryDirectory(prefix="notify-site-"))
                port = free_port()
                server = ServerProcess(self.command(port), Path(directory), port, around.env)
                server.start()
                stack.callback(server.kill)
                servers.append(server)
            caller = self.caller(around.env, [server.port for server in servers])
            stack.callback(caller.close)
            yield Running(self, servers, caller, around)


class SitePeer(Peer):
    """Notify Site: every client is logged in by a session cookie."""

    is_ours = True
    application = "harness.benchmarks.site:application"
    path = "/ws/notifications/"

    def request(self, account: int, port: int) -> bytes:
        return upgrade_request(
            port,
            self.path,
            {
                "Origin": f"http://127.0.0.1:{port}",
                "Cookie": f"sessionid={session_key(account)}",
            },
        )

    def caller(self, env: dict[str, str], ports: list[int]) -> Remote:
        return Remote(SiteCaller, env)


class SiteOnDaphne(SitePeer):
    name = "daphne"
    title = "Notify Site, Daphne"

    def command(self, port: int) -> Sequence[str]:
        options = f"notifications.server -v 0 -b 127.0.0.1 -p {port} {self.application}"
        return [sys.executable, "-m", *options.split()]


class SiteOnUvicorn(SitePeer):
    name = "uvicorn"
    title = "Notify Site, uvicorn"

    def command(self, port: int) -> Sequence[str]:
        loop = "uvloop" if find_spec("uvloop") else "auto"
        options = (
            f"uvicorn --host 127.0.0.1 --port {port} --loop {loop} --ws websockets-sansio "
            "--ws-per-message-deflate false --no-access-log --lifespan off --log-level warning "
            f"{self.application}"
        )
        return [sys.executable, "-m", *options.split()]


class SiteOnTwoUvicorns(SiteOnUvicorn):
    name = "uvicorn2"
    title = "Notify Site, 2 × uvicorn"
    processes = 2


class PlainChannels(SitePeer):
    """The tutorial's consumer, logged in by the tutorial's middleware with the same sessions."""

    name = "plain"
    title = "plain Channels, Daphne"
    is_ours = False
    beats = False
    is_slow = True
    application = "harness.benchmarks.plain_channels.asgi:application"
    path = "/ws/plain/"

    def command(self, port: int) -> Sequence[str]:
        # Daphne would end each socket after a day, and has the same backlog everywhere.
        options = f"daphne -v 0 -b 127.0.0.1 -p {port} {self.application}"
        return [sys.executable, "-m", *options.split()]

    def caller(self, env: dict[str, str], ports: list[int]) -> Remote:
        return Remote(PlainCaller, env)


class AnonymousPeer(Peer):
    """A server without log-in, database and Redis; the caller is an HTTP client."""

    uses_surroundings = False

    def request(self, account: int, port: int) -> bytes:
        return upgrade_request(port, f"/ws?user_id={account}", {})

    def caller(self, env: dict[str, str], ports: list[int]) -> Remote:
        return Remote(HttpCaller, env, ports[0])


class Seed(AnonymousPeer):
    name = "go"
    title = "the seed, Go"

    def command(self, port: int) -> Sequence[str | Path]:
        return [_seed_executable(), str(port)]


class NodeWs(AnonymousPeer):
    name = "node"
    title = "ws, node"

    def command(self, port: int) -> Sequence[str | Path]:
        return ["node", _node_directory() / "server.js", str(port)]


# In the order in which they take turns.
PEERS: list[Peer] = [
    SiteOnDaphne(),
    Seed(),
    SiteOnUvicorn(),
    SiteOnTwoUvicorns(),
    PlainChannels(),
    NodeWs(),
]


def available(names: Sequence[str]) -> list[Peer]:
    """Return these peers, without those that can't run here: one printed line for each."""
    found = []
    for peer in PEERS:
        if peer.name in names:
            try:
                peer.command(0)
            except Missing as reason:
                print(f"Without {peer.title}: {reason}")
            else:
                found.append(peer)
    return found


def tool_versions() -> dict[str, str]:
    """The versions of what is no Python package."""
    found = {
        "go": measure.said_version(["go", "version"]),
        "node": measure.said_version(["node", "--version"]),
    }
    package = _build_directory() / "node_ws/node_modules/ws/package.json"
    if package.exists():
        found["ws"] = json.loads(package.read_text())["version"]
    return {name: version for name, version in found.items() if version}


@cache
def _seed_executable() -> Path:
    if not shutil.which("go"):
        raise Missing("there is no go (Debian: golang-go golang-github-gorilla-websocket-dev)")
    executable = _build_directory() / "seed"
    # Debian's Go packages are source code below this path.
    env = {"GOPATH": "/usr/share/gocode", "GO111MODULE": "off", "GOFLAGS": ""}
    _build(["go", "build", "-o", executable, HERE / "seed/main.go"], env)
    return executable


@cache
def _node_directory() -> Path:
    if not (shutil.which("node") and shutil.which("npm")):
        raise Missing("there is no node with npm")
    directory = _build_directory() / "node_ws"
    shutil.copytree(HERE / "node_ws", directory)
    options = "--no-audit --no-fund --no-package-lock --ignore-scripts --silent"
    _build(["npm", "install", "--prefix", directory, *options.split()], {})
    return directory


def _build(command: Sequence[str | Path], env: Mapping[str, str]) -> None:
    result = subprocess.run(
        command,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT,
    )
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["?"]
        raise Missing(f"{command[0]} failed: {lines[-1]}")


@cache
def _build_directory() -> Path:
    """Where builds are kept until this process ends."""
    directory = TemporaryDirectory(prefix="notify-site-benchmark-")
    _kept.append(directory)
    return Path(directory.name)


_kept: list[TemporaryDirectory[str]] = []
