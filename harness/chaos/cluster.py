"""All processes of a run: backing services, servers, producers and clients."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.backing_services import BackingServices, backing_services
from harness.chaos.clients import Clients
from harness.remote import Remote
from harness.services import (
    ServerName,
    Service,
    SiteServer,
    free_port,
    running,
    site_environment,
    site_server,
)

SERVERS: Final[tuple[ServerName, ...]] = ("daphne", "daphne", "uvicorn")
# A proxy: takes the servers' ports and yields the port that clients connect to.
Front = Callable[[list[int]], AbstractContextManager[int]]
CONNECT_TIMEOUT_SECONDS: Final = 60.0  # for all clients, before the producers start


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    notifications: int
    faults: int
    minutes: float
    accounts: int = 80
    clients_per_account: int = 3
    producers: int = 3
    marks_per_second: float = 4
    servers: tuple[ServerName, ...] = SERVERS


class Producer(Service):
    """A process that notifies. After a restart it uses another seed and other tokens."""

    def __init__(
        self, directory: Path, name: str, seed: int, size: Size, env: Mapping[str, str]
    ) -> None:
        super().__init__([], directory, env=site_environment(env))
        self._name = name
        self._seed = seed
        self._size = size
        self._starts = 0

    def start(self) -> None:
        name = f"{self._name}.{self._starts}"
        self._starts += 1
        rate = self._size.notifications / (60 * self._size.minutes * self._size.producers)
        self.command = [
            sys.executable,
            *("-m", "harness.chaos.producer"),
            *(name, f"{self._seed} {name}", str(self._size.accounts), str(rate)),
            self.log.parent / f"{name}.journal",
        ]
        super().start()

    def answers(self) -> bool:
        return self.output().count("ready") >= self._starts


@dataclass
class Cluster(BackingServices):
    directory: Path
    servers: list[SiteServer]
    producers: list[Producer]
    clients: Remote

    @property
    def journals(self) -> list[Path]:
        return [
            path for each in self.producers for path in sorted(each.log.parent.glob("*.journal"))
        ]

    @property
    def layer_log(self) -> Path:
        """The file where the channel layers record their faults."""
        return self.directory / "layer-faults"

    def keep_logs(self) -> None:
        services: list[Service] = [*self.servers, *self.producers, self.postgres]
        for number, service in enumerate(services):
            name = f"{number}-{type(service).__name__}.log"
            (self.directory / name).write_text(service.output())


@contextmanager
def running_cluster(
    seed: int, size: Size, directory: Path, front: Front | None = None
) -> Iterator[Cluster]:
    """
    Start everything; logs and all frames that clients received are kept in `directory`.

    front: the proxy in front of the servers. Without it, each client picks a server.
    """
    with ExitStack() as stack:
        settings = {
            "DJANGO_SETTINGS_MODULE": "harness.chaos.settings",
            "CHAOS_SEED": str(seed),
            "CHAOS_LAYER_LOG": str(directory / "layer-faults"),
        }
        backing = stack.enter_context(backing_services(size.accounts, settings))
        backing.assign_audiences()
        env = backing.env
        servers = [
            stack.enter_context(
                site_server(free_port(), {**env, "CHAOS_SEED": f"{seed} server {i}"}, server)
            )
            for i, server in enumerate(size.servers)
        ]
        ports = [server.port for server in servers]
        clients = stack.enter_context(
            Remote(
                Clients,
                [stack.enter_context(front(ports))] if front else ports,
                size.accounts,
                size.clients_per_account,
                seed,
                directory / "frames.gz",
            )
        )
        _await_connected(clients)
        producers = [
            stack.enter_context(_producer(f"p{i}", seed, size, env)) for i in range(size.producers)
        ]
        cluster = Cluster(
            backing.redis, backing.postgres, env, directory, servers, producers, clients
        )
        try:
            yield cluster
        finally:
            cluster.keep_logs()


def _producer(
    name: str, seed: int, size: Size, env: Mapping[str, str]
) -> AbstractContextManager[Producer]:
    own = {**env, "CHAOS_SEED": f"{seed} {name}"}
    return running(lambda directory: Producer(directory, name, seed, size, own))


def _await_connected(clients: Remote) -> None:
    deadline = time.monotonic() + CONNECT_TIMEOUT_SECONDS
    while not all(position for _, position in clients.call("positions")):
        if time.monotonic() > deadline:
            raise RuntimeError(f"Not all clients connected within {CONNECT_TIMEOUT_SECONDS:g} s")
        time.sleep(0.1)
