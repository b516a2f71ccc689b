"""What a run is made of: Redis, PostgreSQL, servers, producers and clients, all real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from harness.chaos.clients import Clients
from harness.remote import Remote
from harness.services import (
    ROOT,
    PostgresServer,
    RedisServer,
    ServerName,
    Service,
    SiteServer,
    free_port,
    manage,
    postgres_server,
    redis_server,
    running,
    site_environment,
    site_server,
)

SERVERS: Final[tuple[ServerName, ...]] = ("daphne", "daphne", "uvicorn")
# Passes connections on to ports, and yields the one to connect to.
Front = Callable[[list[int]], AbstractContextManager[int]]
CONNECTED: Final = 60.0  # seconds for all clients, before anybody notifies
# Every tenth account is staff, every fourth in the group that gets broadcasts.
AUDIENCES: Final = """
UPDATE auth_user SET is_staff = true WHERE id % 10 = 0;
INSERT INTO auth_group (id, name) VALUES (1, 'some');
INSERT INTO auth_user_groups (user_id, group_id) SELECT id, 1 FROM auth_user WHERE id % 4 = 0;
"""


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
class Surroundings:
    directory: Path
    redis: RedisServer
    postgres: PostgresServer
    env: dict[str, str]
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

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.env["DATABASE_URL"], autocommit=True)

    def keep_logs(self) -> None:
        services: list[Service] = [*self.servers, *self.producers, self.postgres]
        for number, service in enumerate(services):
            name = f"{number}-{type(service).__name__}.log"
            (self.directory / name).write_text(service.output())


@contextmanager
def surroundings(
    seed: int, size: Size, directory: Path, front: Front | None = None
) -> Iterator[Surroundings]:
    """
    Start everything; logs and all frames that clients got stay in `directory`.

    front: what stands before the servers; without, each client goes to one of them.
    """
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        postgres = stack.enter_context(postgres_server())
        env = {
            "DATABASE_URL": postgres.create_database("chaos"),
            "REDIS_URL": redis.url,
            "DJANGO_SETTINGS_MODULE": "harness.chaos.settings",
            "CHAOS_SEED": str(seed),
            "CHAOS_PUSHES": str(directory / "pushes"),
        }
        make_accounts(env, size.accounts)
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
        around = Surroundings(directory, redis, postgres, env, servers, producers, clients)
        try:
            yield around
        finally:
            around.keep_logs()


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


def make_accounts(env: Mapping[str, str], accounts: int) -> None:
    """Make the database's tables, and so many accounts with a session each."""
    manage("migrate", "-v", "0", env=env)
    subprocess.run(
        [sys.executable, "-m", "harness.accounts", str(accounts)],
        cwd=ROOT,
        env=site_environment(env),
        check=True,
    )
    with psycopg.connect(env["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(AUDIENCES)
