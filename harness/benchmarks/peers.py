"""The servers that are compared: how to start each, connect to it, and call it."""

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
from harness.backing_services import BackingServices
from harness.benchmarks import measure
from harness.benchmarks.callers import HttpCaller, PlainCaller, SiteCaller
from harness.benchmarks.database import empty_inboxes
from harness.frames import upgrade_request
from harness.remote import Remote
from harness.services import Service, free_port, site_environment
from harness.session import SOCKET_PATH

HERE = Path(__file__).resolve().parent
BUILD_TIMEOUT_SECONDS = 300


class Unavailable(Exception):
    """A peer can't run on this machine, for the given reason."""


class ServerProcess(Service):
    """One process of a peer, ready once it accepts connections."""

    def __init__(
        self, command: Sequence[str | Path], directory: Path, port: int, env: Mapping[str, str]
    ) -> None:
        super().__init__(command, directory, env=site_environment(env))
        self.port = port

    def answers(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        return True


@dataclass
class RunningPeer:
    """A running peer and the process that calls it."""

    peer: Peer
    servers: list[ServerProcess]
    caller: Remote
    backing_services: BackingServices

    @property
    def server_pids(self) -> list[int]:
        return [server.pid for server in self.servers]

    @property
    def pids(self) -> list[int]:
        """All processes involved in a message, except the caller and the load generator."""
        return self.server_pids + (
            self.backing_services.pids if self.peer.uses_backing_services else []
        )

    def requests(self, first: int, count: int) -> list[tuple[int, bytes]]:
        """Return the ports and handshakes of accounts from `first` on, spread over the servers."""
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
            response = connection.getresponse()
            if response.status != 200:
                raise OSError(f"{path} returned {response.status}")
            return json.load(response)
        finally:
            connection.close()


class Peer:
    name: str  # on the command line
    title: str  # in tables and plots
    processes = 1
    uses_backing_services = True
    is_ours = False
    # Whether it closes silent connections.
    needs_heartbeats = True
    # Whether broadcasts take so long that only a few can be measured.
    is_slow = False

    def command(self, port: int) -> Sequence[str | Path]:
        """Return the command of one server process. Raises Unavailable if it can't run here."""
        raise NotImplementedError

    def request(self, account: int, port: int) -> bytes:
        """Return the account's handshake request."""
        raise NotImplementedError

    def caller(self, env: dict[str, str], ports: list[int]) -> Remote:
        raise NotImplementedError

    @contextmanager
    def running(self, backing: BackingServices) -> Iterator[RunningPeer]:
        empty_inboxes(backing)
        with ExitStack() as stack:
            servers = []
            for _ in range(self.processes):
                directory = stack.enter_context(TemporaryDirectory(prefix="notify-site-"))
                port = free_port()
                server = ServerProcess(self.command(port), Path(directory), port, backing.env)
                server.start()
                stack.callback(server.kill)
                servers.append(server)
            caller = self.caller(backing.env, [server.port for server in servers])
            stack.callback(caller.close)
            yield RunningPeer(self, servers, caller, backing)


class SitePeer(Peer):
    """Notify Site; clients log in with session cookies."""

    is_ours = True
    application = "harness.benchmarks.site:application"
    path = SOCKET_PATH

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
    """The consumer and middleware of Channels' tutorial, with the same sessions."""

    name = "plain"
    title = "plain Channels, Daphne"
    is_ours = False
    needs_heartbeats = False
    is_slow = True
    application = "harness.benchmarks.plain_channels.asgi:application"
    path = "/ws/plain/"

    def command(self, port: int) -> Sequence[str]:
        # Plain Daphne closes connections after a day, and its backlog is always the same.
        options = f"daphne -v 0 -b 127.0.0.1 -p {port} {self.application}"
        return [sys.executable, "-m", *options.split()]

    def caller(self, env: dict[str, str], ports: list[int]) -> Remote:
        return Remote(PlainCaller, env)


class AnonymousPeer(Peer):
    """A server without log-in, database or Redis, called by HTTP."""

    uses_backing_services = False

    def request(self, account: int, port: int) -> bytes:
        return upgrade_request(port, f"/ws?user_id={account}", {})

    def caller(self, env: dict[str, str], ports: list[int]) -> Remote:
        return Remote(HttpCaller, env, ports[0])


class GoServer(AnonymousPeer):
    """The design that this project started from, in Go; see go_server/main.go."""

    name = "go"
    title = "Go server"

    def command(self, port: int) -> Sequence[str | Path]:
        return [_go_executable(), str(port)]


class NodeWs(AnonymousPeer):
    name = "node"
    title = "ws, node"

    def command(self, port: int) -> Sequence[str | Path]:
        return ["node", _node_directory() / "server.js", str(port)]


# In the order of their turns.
PEERS: list[Peer] = [
    SiteOnDaphne(),
    GoServer(),
    SiteOnUvicorn(),
    SiteOnTwoUvicorns(),
    PlainChannels(),
    NodeWs(),
]


def available(names: Sequence[str]) -> list[Peer]:
    """Return the named peers that can run here; print why others can't."""
    found = []
    for peer in PEERS:
        if peer.name in names:
            try:
                peer.command(0)
            except Unavailable as reason:
                print(f"Skipping {peer.title}: {reason}")
            else:
                found.append(peer)
    return found


def tool_versions() -> dict[str, str]:
    """Return the versions of tools that are not Python packages."""
    found = {
        "go": measure.printed_version(["go", "version"]),
        "node": measure.printed_version(["node", "--version"]),
    }
    package = _build_directory() / "node_ws/node_modules/ws/package.json"
    if package.exists():
        found["ws"] = json.loads(package.read_text())["version"]
    return {name: version for name, version in found.items() if version}


@cache
def _go_executable() -> Path:
    if not shutil.which("go"):
        raise Unavailable("go is missing (Debian: golang-go golang-github-gorilla-websocket-dev)")
    executable = _build_directory() / "go_server"
    # Debian installs the source of Go packages here.
    env = {"GOPATH": "/usr/share/gocode", "GO111MODULE": "off", "GOFLAGS": ""}
    _build(["go", "build", "-o", executable, HERE / "go_server/main.go"], env)
    return executable


@cache
def _node_directory() -> Path:
    if not (shutil.which("node") and shutil.which("npm")):
        raise Unavailable("node or npm is missing")
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
        timeout=BUILD_TIMEOUT_SECONDS,
    )
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["?"]
        raise Unavailable(f"{command[0]} failed: {lines[-1]}")


@cache
def _build_directory() -> Path:
    """Return the directory of builds, which is deleted when this process ends."""
    directory = TemporaryDirectory(prefix="notify-site-benchmark-")
    _kept.append(directory)
    return Path(directory.name)


_kept: list[TemporaryDirectory[str]] = []
