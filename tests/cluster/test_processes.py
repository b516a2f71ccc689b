"""Which servers change their process for many connections: the app's own runner, and no other."""

from __future__ import annotations

import gc
import resource
import sys

import pytest

from harness.services import free_port, site_server
from notifications.servers.tuning import GC_THRESHOLD, SWITCH_SECONDS
from tests.cluster.asked import PATH
from tests.cluster.conftest import FAST


@pytest.fixture
def few_files():
    """A soft limit below the hard one, which server processes inherit."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def process_of(server):
    with site_server(free_port(), FAST, server, application="tests.cluster.asked") as process:
        return process.get_json(PATH)


def test_the_runner_tunes_its_process(few_files):
    assert process_of("daphne") == {
        "gc": GC_THRESHOLD,
        "frozen": True,
        "switch": pytest.approx(SWITCH_SECONDS),
        "files": True,
    }


@pytest.mark.parametrize("server", ["plain daphne", "uvicorn"])
def test_other_servers_stay_as_they_are(few_files, server):
    assert process_of(server) == {
        "gc": gc.get_threshold()[0],
        "frozen": False,
        "switch": pytest.approx(sys.getswitchinterval()),
        "files": False,
    }
