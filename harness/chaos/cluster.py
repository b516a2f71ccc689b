"""All processes of a run: backing services, servers, producers and clients."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.backing_services import BackingServices, backing_services
from harness.chaos.clients import Clients
from harness.chaos.history import RECORD
from harness.chaos.proxy import CuttingProxies
from harness.database_services import PgBouncer, pgbouncer, pgbouncer_executable, replica
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
REPLICA_LAG_SECONDS: Final = 3.0
MAX_FILES: Final = 300  # that each server may have open


@dataclass(frozen=True)
class Surroundings:
    """What stands between the processes, as it does at many sites."""

    # One in front of each server, which can cut connections between frames.
    proxies: bool = False
    # The first and every second further server and producer use PostgreSQL through it.
    pgbouncer: bool = False
    # The other servers read from a replica that lags behind, wherever a router is asked.
    replica: bool = False
    # The last producer's transactions are serializable.
    serializable: bool = False
    # Servers have MAX_FILES, and no more.
    few_files: bool = False
    # One of each account's clients is the second one, written from docs/protocol.md only.
    second_client: bool = False

    @property
    def names(self) -> list[str]:
        return [name for name, is_there in vars(self).items() if is_there]


def all_surroundings() -> Surroundings:
    """Return everything that there is on this machine: PgBouncer has to be installed."""
    return Surroundings(
        proxies=True,
        pgbouncer=pgbouncer_executable() is not None,
        replica=True,
        serializable=True,
        few_files=True,
        second_client=True,
    )


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
    surroundings: Surroundings = Surroundings()


class Producer(Service):
    """A process that notifies. After a restart it uses another seed and other tokens."""

    def __init__(
        self, directory: Path, name: str, seed: int, size: Size, env: Mapping[str, str]
    ) -> None:
        own = {**env, "PGAPPNAME": name}
        super().__init__([], directory, env=site_environment(own))
        self.name = name  # also of its database connections
        self._seed = seed
        self._size = size
        self._starts = 0

    def start(self) -> None:
        name = f"{self.name}.{self._starts}"
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
    client_ports: list[int]  # of each server, as clients know it
    accounts: int
    has_few_files: bool
    proxies: Remote | None
    pgbouncer: PgBouncer | None

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
        with backing.connect() as connection:
            connection.execute(RECORD)
        environments = _Environments(backing, size.surroundings, stack)
        servers = [
            stack.enter_context(
                site_server(
                    free_port(),
                    {**environments.of_server(i), "CHAOS_SEED": f"{seed} server {i}"},
                    server,
                )
            )
            for i, server in enumerate(size.servers)
        ]
        if size.surroundings.few_files:
            for each in servers:
                limit_files(each)
        ports = [server.port for server in servers]
        proxies = None
        if size.surroundings.proxies:
            proxies = stack.enter_context(Remote(CuttingProxies, ports, seed))
            ports = proxies.call("ports")
        clients = stack.enter_context(
            Remote(
                Clients,
                [stack.enter_context(front(ports))] if front else ports,
                size.accounts,
                size.clients_per_account,
                seed,
                directory / "frames.gz",
                size.surroundings.second_client,
            )
        )
        _await_connected(clients)
        producers = [
            stack.enter_context(
                _producer(f"p{i}", seed, size, environments.of_producer(i, size.producers))
            )
            for i in range(size.producers)
        ]
        cluster = Cluster(
            backing.redis,
            backing.postgres,
            backing.env,
            directory,
            servers,
            producers,
            clients,
            ports,
            size.accounts,
            size.surroundings.few_files,
            proxies,
            environments.pgbouncer,
        )
        try:
            yield cluster
        finally:
            cluster.keep_logs()


class _Environments:
    """The environments of servers and producers; starts what they need."""

    def __init__(
        self, backing: BackingServices, surroundings: Surroundings, stack: ExitStack
    ) -> None:
        self._env = backing.env
        self._surroundings = surroundings
        self._replica_url = ""
        self.pgbouncer: PgBouncer | None = None
        database = backing.env["DATABASE_URL"].partition("@/")[2].partition("?")[0]
        if surroundings.pgbouncer:
            self.pgbouncer = stack.enter_context(pgbouncer(backing.postgres, database))
        if surroundings.replica:
            lagging = replica(backing.postgres, database, REPLICA_LAG_SECONDS)
            self._replica_url = stack.enter_context(lagging).url

    def of_server(self, number: int) -> dict[str, str]:
        if self._replica_url and number % 2:
            return {**self._env, "CHAOS_REPLICA_URL": self._replica_url}
        return self._pooled(number)

    def of_producer(self, number: int, producers: int) -> dict[str, str]:
        if self._surroundings.serializable and number == producers - 1:
            return {**self._env, "CHAOS_SERIALIZABLE": "1"}
        return self._pooled(number)

    def _pooled(self, number: int) -> dict[str, str]:
        if self.pgbouncer and number % 2 == 0:
            return {**self._env, "DATABASE_URL": self.pgbouncer.url, "CHAOS_POOLED": "1"}
        return self._env


def limit_files(server: SiteServer) -> None:
    """Let the server, which has just started, open no more than MAX_FILES."""
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (MAX_FILES, MAX_FILES))


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
