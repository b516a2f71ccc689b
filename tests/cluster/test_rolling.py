"""A deploy as it should be: nginx, two workers restarted one after the other, everybody busy."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from harness.chaos.plan import Fault
from harness.chaos.processes import Size
from harness.chaos.run import run
from harness.nginx import nginx

SOCKETS = 120
WINDOW = 2.0  # seconds, as harness.chaos.settings has it; each worker drains once


@pytest.mark.realtime
def test_a_rolling_restart_behind_nginx_loses_nothing_and_overwhelms_nobody(tmp_path):
    size = Size(
        notifications=600,
        faults=1,
        minutes=0.35,
        accounts=SOCKETS // 2,
        clients_per_account=2,
        producers=2,
        servers=("daphne", "daphne"),
    )
    roll = Fault(at=8, kind="servers rolled", track="servers", lasts=0, target=0)
    passed = []

    @contextmanager
    def front(ports):
        with nginx(ports) as proxy:
            yield proxy.port
            proxy.stop()  # which ends what is open, so that it is in its log
            passed.extend(proxy.passed())

    report = run(seed=5, size=size, directory=tmp_path, own_plan=[roll], front=front)

    # Nothing is lost,
    assert report["problems"] == []
    assert {name: cases for name, cases in report["cases"].items() if cases} == {}
    assert report["committed notifications"] >= 600
    # HTTP goes on,
    assert report["clients"]["marks"] > 20
    assert "marks unanswered" not in report["clients"]
    assert {each.status for each in passed if not each.path.startswith("/ws/")} == {200}
    # and each socket that was sent away came back,
    sockets = [each for each in passed if each.path.startswith("/ws/")]
    assert {each.status for each in sockets} == {101}
    assert len(sockets) >= SOCKETS * 2
    # to a worker that never got more than twice its share of them.
    back = sorted(sockets, key=lambda each: each.began)[SOCKETS:]
    assert len({each.ports[-1] for each in back}) == 2
    for port in {each.ports[-1] for each in back}:
        moments = [each.began for each in back if each.ports[-1] == port]
        fair = len(moments) / WINDOW
        assert busiest(moments) <= 2 * fair, (len(moments), busiest(moments))


def busiest(moments: list[float]) -> float:
    """Return how many a second there were in the half second that had most of them."""
    return max(sum(begin <= m < begin + 0.5 for m in moments) for begin in moments) / 0.5
