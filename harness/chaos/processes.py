"""What a run is made of beside its surroundings: servers, producers and clients."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
from harness.surroundings import Surroundings, surroundings

SERVERS: Final[tuple[ServerName, ...]] = ("daphne", "daphne", "uvicorn")
# Passes connections on to ports, and yields the one to connect to.
Front = Callable[[list[int]], AbstractContextManager[int]]
CONNECTED: Final = 60.0  # seconds for all clients, before anybody notifies


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
    """One of the processes that notify; a restarted one goes on with other draws and tokens."""

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
class Processes(Surroundings):
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
    def pushes(self) -> Path:
        """Where the channel layers write what they did to pushes."""
        return self.directory / "pushes"

    def keep_logs(self) -> None:
        services: list[Service] = [*self.servers, *self.producers, self.postgres]
        for number, service in enumerate(services):
            name = f"{number}-{type(service).__name__}.log"
            (self.directory / name).write_text(service.output())


@contextmanager
def processes(
    seed: int, size: Size, directory: Path, front: Front | None = None
) -> Iterator[Processes]:
    """
    Start everything; logs and all frames that clients got stay in `directory`.

    front: what stands before the servers; without, each client goes to one of them.
    """
    with ExitStack() as stack:
        settings = {
            "DJANGO_SETTINGS_MODULE": "harness.chaos.settings",
            "CHAOS_SEED": str(seed),
            "CHAOS_PUSHES": str(directory / "pushes"),
        }
        around = stack.enter_context(surroundings(size.accounts, settings))
        around.put_accounts_in_audiences()
        env = around.env
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
        everything = Processes(
            around.redis, around.postgres, env, directory, servers, producers, clients
        )
        try:
            yield everything
        finally:
            everything.keep_logs()


def _producer(
    name: str, seed: int, size: Size, env: Mapping[str, str]
) -> AbstractContextManager[Producer]:
    own = {**env, "CHAOS_SEED": f"{seed} {name}"}
    return running(lambda directory: Producer(directory, name, seed, size, own))


def _await_connected(clients: Remote) -> None:
    deadline = time.monotonic() + CONNECTED
    while not all(position for _, position in clients.call("positions")):
        if time.monotonic() > deadline:
            raise RuntimeError(f"Not all clients were connected within {CONNECTED:g} s")
        time.sleep(0.1)
