"""Releases of servers whose insides differ from those that were tested: all works as before."""

from __future__ import annotations

import pytest

from harness.demo_data import make_demo_data
from harness.services import free_port, site_server
from harness.visitor import TIMEOUT_SECONDS
from tests.cluster.conftest import FAST, Site, wait_until

WARNING = "Private parts of "

CHANGES = {
    "daphne": [
        "daphne==4.20",
        "twisted==99.1",
        "autobahn:send_queue",
        "daphne:application_checker",
        "daphne:application_instance",
        "daphne:connections",
        "daphne:kill_all_applications",
        "daphne:parser",
        "daphne:timeout_checker",
        "daphne:ws_factory",
        "twisted:_tempDataBuffer",
        "twisted:dataBuffer",
    ],
    "plain daphne": ["daphne==4.20", "twisted:_tempDataLen"],
    "uvicorn": [
        "uvicorn==0.540",
        "websockets==99",
        "uvicorn:close_sent",
        "uvicorn:conn",
        "uvicorn:transport",
        "uvicorn:writable",
        "uvicorn:WebSocketsSansIOProtocol",
        "websockets:max_message_size",
    ],
    "uvicorn, wsproto": ["uvicorn:buffer"],
}
# Methods of Daphne's that ours replace: where they have other names, Daphne calls its own.
NOT_NOTICED = {
    "daphne:application_checker",
    "daphne:kill_all_applications",
    "daphne:timeout_checker",
}
# In `make test`; the others take long.
FIRST = {("daphne", "daphne==4.20"), ("daphne", "twisted:dataBuffer"), ("uvicorn", "uvicorn:conn")}


def cases():
    for server, changes in CHANGES.items():
        for change in changes:
            marks = [] if (server, change) in FIRST else [pytest.mark.verify(10)]
            yield pytest.param(server, change, marks=marks, id=f"{server}, {change}")


@pytest.mark.parametrize(("server", "change"), [*cases()])
def test_a_changed_release_serves_and_stops_as_before_with_one_warning(
    server, change, new_visitor, tmp_path
):
    env = {**FAST, "DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3"}
    make_demo_data(env)
    with site_server(
        free_port(), env, server, through=f"tests.cluster.changed {change}"
    ) as process:
        site = Site(env, [process])
        alice = new_visitor(process.url, "alice")
        tab = alice.open_tab(process.url)
        tab.receive("heartbeat")

        alice.submit(f"{process.url}/", f"{process.url}/orders/1/pay/")

        assert tab.receive("order_paid")["seq"] == 1
        tab.send("x" * 5000)
        assert tab.receive("error")["code"] == "bad_frame"
        tab.send('{"type": "heartbeat"}')
        assert tab.receive("heartbeat")["unread"] == 1
        if change not in NOT_NOTICED:
            wait_until(lambda: WARNING in process.output())
        process.terminate()
        assert tab.closed_with() == {"daphne": 4012, "plain daphne": None}.get(server, 1012)
        process.wait(TIMEOUT_SECONDS)
        if server != "plain daphne":
            wait_until(lambda: site.count("Worker") == site.count("Connection") == 0)
        log = process.output()
        assert "Traceback" not in log
        assert log.count(WARNING) == (change not in NOT_NOTICED), log
