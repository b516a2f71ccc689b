"""What sites put between themselves and PostgreSQL: PgBouncer, and a replica that lags behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg

from harness.services import PostgresServer, Service, free_port, running


class PgBouncer(Service):
    """A pool of PostgreSQL's connections, each given to a client for one transaction at a time."""

    def __init__(self, directory: Path, postgres: PostgresServer, database: str) -> None:
        """database: the name of the only one that it gives access to."""
        executable = pgbouncer_executable()
        assert executable, "PgBouncer is not installed"
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/{database}"
        configuration = directory / "pgbouncer.ini"
        configuration.write_text(
            f"""
[databases]
{database} = host={postgres.data} dbname={database} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = 40
server_login_retry = 1
"""
        )
        directory.chmod(0o755)  # it reads its configuration as the user below
        # Like PostgreSQL, it refuses to run as root; PostgreSQL's socket is its user's.
        super().__init__([executable, configuration], directory, user=postgres.user)
        self.cwd = directory

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, prepare_threshold=None).close()
        except psycopg.OperationalError:
            return False
        return True


class Replica(Service):
    """A streaming replica that applies each commit `lag_seconds` after it was made."""

    stop_signal = signal.SIGINT
    kill_signal = signal.SIGQUIT

    def __init__(
        self, directory: Path, postgres: PostgresServer, database: str, lag_seconds: float
    ) -> None:
        data = directory / "data"
        data.mkdir(mode=0o700)
        directory.chmod(0o755)
        if postgres.user:
            shutil.chown(data, postgres.user)
        subprocess.run(
            [
                *(postgres.binaries / "pg_basebackup", "-D", data, "-h", postgres.data),
                *("-U", "postgres", "--write-recovery-conf", "--checkpoint=fast"),
            ],
            check=True,
            stderr=subprocess.DEVNULL,  # a warning about the socket in that directory
            cwd=directory,
            user=postgres.user,
        )
        for left_over in data.glob(".s.PGSQL.*"):
            left_over.unlink()
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(data),
            "max_connections": "200",
            "fsync": "off",
            "recovery_min_apply_delay": f"{lag_seconds:g}s",
            "max_standby_streaming_delay": "-1",  # never ends a query to apply what it waits for
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        command: list[str | Path] = [postgres.binaries / "postgres", "-D", data, *options]
        super().__init__(command, directory, user=postgres.user)
        self.cwd = directory
        self.url = f"postgresql://postgres@/{database}?host={data}"

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True


def pgbouncer(postgres: PostgresServer, database: str) -> AbstractContextManager[PgBouncer]:
    return running(lambda directory: PgBouncer(directory, postgres, database))


def replica(
    postgres: PostgresServer, database: str, lag_seconds: float
) -> AbstractContextManager[Replica]:
    return running(lambda directory: Replica(directory, postgres, database, lag_seconds))


def pgbouncer_executable() -> str | None:
    """Return the path of PgBouncer, which is no Python package; None if it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
