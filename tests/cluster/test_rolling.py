"""A rolling restart: two busy workers behind nginx, restarted one after the other."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from harness.chaos.cluster import Size
from harness.chaos.plan import Fault
from harness.chaos.run import run
from harness.nginx import nginx

CONNECTIONS = 120
DRAIN_SECONDS = 2.0  # as in harness.chaos.settings; each worker drains once


@pytest.mark.realtime
def test_a_rolling_restart_behind_nginx_loses_nothing_and_overloads_no_worker(tmp_path):
    size = Size(
        notifications=600,
        faults=1,
        minutes=0.35,
        accounts=CONNECTIONS // 2,
        clients_per_account=2,
        producers=2,
        servers=("daphne", "daphne"),
    )
    roll = Fault(at=8, kind="servers rolled", track="servers", seconds=0, target=0)
    requests = []

    @contextmanager
    def front(ports):
        with nginx(ports) as proxy:
            yield proxy.port
            proxy.stop()  # ends open connections, so that they are in its log
            requests.extend(proxy.proxied())

    report = run(seed=5, size=size, directory=tmp_path, own_plan=[roll], front=front)

    # Nothing was lost.
    assert report["problems"] == []
    assert {name: cases for name, cases in report["cases"].items() if cases} == {}
    assert report["committed notifications"] >= 600
    # Every HTTP request succeeded.
    assert report["clients"]["marks"] > 20
    assert "failed marks" not in report["clients"]
    assert {each.status for each in requests if not each.path.startswith("/ws/")} == {200}
    # Each connection that was closed came back.
    connections = [each for each in requests if each.path.startswith("/ws/")]
    assert {each.status for each in connections} == {101}
    assert len(connections) >= CONNECTIONS * 2
    # They came back at no more than twice the average rate, to both workers.
    returns = sorted(connections, key=lambda each: each.started_at)[CONNECTIONS:]
    assert len({each.ports[-1] for each in returns}) == 2
    for port in {each.ports[-1] for each in returns}:
        moments = [each.started_at for each in returns if each.ports[-1] == port]
        average = len(moments) / DRAIN_SECONDS
        assert max_rate(moments) <= 2 * average, (len(moments), max_rate(moments))


def max_rate(moments: list[float]) -> float:
    """Return the rate, per second, of the busiest half second."""
    return max(sum(begin <= m < begin + 0.5 for m in moments) for begin in moments) / 0.5
