"""As with `make run`: SQLite, the in-memory layer, one server process."""

from __future__ import annotations

import json
import signal

import pytest

from harness.services import running_command
from harness.visitor import TIMEOUT_SECONDS, Visitor
from tests.cluster.conftest import FAST, wait_until


@pytest.fixture
def site(start_site):
    """With the default settings."""
    return start_site({})


def test_paying_an_order_reaches_the_buyers_tabs_only(site, new_visitor):
    url = site.servers[0].url
    alice, bob = new_visitor(url, "alice"), new_visitor(url, "bob")
    tabs = [alice.open_tab(url), alice.open_tab(url)]
    bobs_tab = bob.open_tab(url)
    for tab in (*tabs, bobs_tab):
        tab.receive("heartbeat")

    assert alice.submit(f"{url}/", f"{url}/orders/1/pay/") == 200

    for tab in tabs:
        frame = tab.receive("order_paid")
        assert frame["content"]["meta_data"] == {"order_id": 1}
        assert frame["unread"] == 1
    with pytest.raises(TimeoutError):
        bobs_tab.receive("order_paid", timeout=1)


def test_the_check_delivers_a_notification_from_a_shell(start_site, new_visitor):
    # With the in-memory layer, the hub checks every second, whatever the interval.
    site = start_site({**FAST, "NOTIFICATIONS_HEARTBEAT_INTERVAL": "3600"})
    url = site.servers[0].url
    tab = new_visitor(url, "alice").open_tab(url)
    tab.receive("heartbeat")

    site.shell('notify_accounts(User.objects.get(username="alice"), "hello", "from a shell")')

    assert tab.receive("hello")["content"]["body"] == "from a shell"


def test_invalid_frames_get_errors_and_the_connection_stays_open(site, new_visitor):
    url = site.servers[0].url
    tab = new_visitor(url, "alice").open_tab(url)
    tab.receive("heartbeat")

    codes = []
    for text in ("not json", "[]", b"\x00\x01", '{"type": "pay"}', "", "x" * 5000):
        tab.send(text)
        codes.append(tab.receive("error")["code"])
    tab.send('{"type": "heartbeat"}')

    assert codes == ["bad_json", "bad_frame", "bad_frame", "bad_type", "bad_json", "bad_frame"]
    assert tab.receive("heartbeat")["content"] == {"body": "", "meta_data": ""}
    assert "Traceback" not in site.servers[0].output()


def test_an_anonymous_visitor_is_asked_to_log_in(site):
    visitor = Visitor()

    tab = visitor.open_tab(site.servers[0].url)

    assert tab.receive("bye")["code"] == 4401
    assert tab.closed_with() == 4401
    visitor.leave()


def test_a_stopped_server_asks_its_tabs_to_reconnect_and_deletes_its_rows(site, new_visitor):
    url = site.servers[0].url
    tab = new_visitor(url, "alice").open_tab(url)
    tab.receive("heartbeat")

    site.servers[0].terminate()

    bye = tab.receive("bye")
    assert (bye["code"], bye["reconnect"]) == (4012, True)
    assert tab.closed_with() == 4012
    assert site.servers[0].wait(TIMEOUT_SECONDS) == 0
    assert site.count("Worker") == site.count("Connection") == 0
    assert "Traceback" not in site.servers[0].output()


def test_the_server_runs_the_periodic_task(site):
    # Before the first run, /readyz has a warning.
    wait_until(lambda: site.servers[0].get_json("/readyz") == {"status": "ok"})


def test_the_maintenance_command_stops_cleanly_on_sigterm(start_site):
    site = start_site(FAST)
    with running_command("notification_maintenance", env=site.env) as command:
        command.process.send_signal(signal.SIGTERM)

        assert command.wait(TIMEOUT_SECONDS) == 0
        assert command.output().endswith("Maintenance stopped.\n")


def test_the_maintenance_command_reports_what_it_did(start_site):
    site = start_site(FAST)
    site.shell(
        "from notifications.models import Notification\n"
        'alice = User.objects.get(username="alice")\n'
        'Notification.objects.create(account=alice, type="hello", body="left by a crash")'
    )

    output = site.manage("notification_maintenance", "--once")

    assert output == "Maintenance: notifications numbered: 1.\n"
    assert site.manage("notification_maintenance", "--once") == "Maintenance: nothing to do.\n"


@pytest.mark.parametrize("server", ["plain daphne", "uvicorn"])
def test_other_servers_deliver_too(start_site, new_visitor, server):
    url = start_site(FAST, server=server).servers[0].url
    alice = new_visitor(url, "alice")
    tab = alice.open_tab(url)
    tab.receive("heartbeat")

    alice.submit(f"{url}/", f"{url}/orders/1/pay/")

    assert tab.receive("order_paid")["seq"] == 1


def test_a_mark_returns_the_range_that_undoes_it(site, new_visitor):
    url = site.servers[0].url
    alice = new_visitor(url, "alice")
    alice.submit(f"{url}/", f"{url}/orders/1/pay/")
    page = alice.get_json(f"{url}/notifications/items/")
    tab = alice.open_tab(url, **{k: page[k] for k in ("seq", "broadcast_seq", "epoch", "scope")})
    tab.receive("heartbeat")

    upto = {"seq": page["seq"], "broadcast_seq": page["broadcast_seq"]}
    marked = alice.post_json(url, "/notifications/mark/", {"upto": upto, "as": "read"})

    state = tab.receive("state")
    assert (state["as"], state["unread"]) == ("read", 0)
    assert state["range"] == {"from": 2, "seq": 2, "upto": upto}
    alice.post_json(url, "/notifications/mark/", {"undo": marked["range"]})
    assert tab.receive("state")["as"] == "unread"
    assert json.loads(alice.get(f"{url}/notifications/items/"))["unread"] == 1
