from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.services import PostgresServer, postgres_server
from tests.releases.release import Release, unpacked


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The previous release, unpacked."""
    return unpacked(Path(tmp_path_factory.mktemp("previous")))
