"""Run a command with a fresh PostgreSQL in DATABASE_URL: `python -m tests.with_postgres CMD`."""

from __future__ import annotations

import os
import subprocess
import sys

from harness.services import postgres_server

if __name__ == "__main__":
    with postgres_server() as postgres:
        env = {**os.environ, "DATABASE_URL": postgres.create_database("notify_site")}
        result = subprocess.run(sys.argv[1:], env=env)
    sys.exit(result.returncode)
