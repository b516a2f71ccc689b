"""Connections are closed with their session, on real servers, Redis and PostgreSQL."""

from __future__ import annotations

import time

import pytest
from websockets.sync.client import connect

from harness.visitor import OpenTab
from tests.cluster.conftest import FAST, wait_until

# Sessions are rechecked every 10 seconds, so within one second only a message can arrive.
SLOW_CHECK = {**FAST, "NOTIFICATIONS_HEARTBEAT_INTERVAL": "2"}
RECHECK_SECONDS = 5 * 0.3  # with FAST


@pytest.fixture
def start_with(start_site, cluster_env, shared_redis, tmp_path):
    def start(engine="db", server="daphne", **env):
        engine = f"django.contrib.sessions.backends.{engine}"
        sessions = {"SESSION_ENGINE": engine, "SESSION_FILE_PATH": str(tmp_path)}
        env = {**cluster_env(shared_redis), **SLOW_CHECK, **sessions, **env}
        return start_site(env, servers=2, server=server)

    return start


def open_tabs(visitor, *servers, **position):
    """Open a tab of this visitor on each server; return them once they are caught up."""
    tabs = [visitor.open_tab(server.url, **position) for server in servers]
    for tab in tabs:
        tab.receive("heartbeat")
    return tabs


def is_open(tab):
    tab.send('{"type": "heartbeat"}')
    return tab.receive("heartbeat")


def log_out(visitor, url):
    """Log out; return the time afterwards, in monotonic seconds."""
    visitor.submit(f"{url}/", f"{url}/logout/")
    return time.monotonic()


@pytest.mark.realtime
@pytest.mark.parametrize(
    ("engine", "server"),
    [
        ("db", "daphne"),
        ("db", "uvicorn"),
        ("cached_db", "daphne"),
        ("cache", "daphne"),
        ("file", "daphne"),
    ],
)
def test_a_logout_closes_the_sessions_connections_on_all_servers_within_a_second(
    start_with, new_visitor, engine, server
):
    here, there = start_with(engine, server).servers
    alice, other_device = new_visitor(here.url, "alice"), new_visitor(there.url, "alice")
    tabs = open_tabs(alice, here, there, there)
    others = open_tabs(other_device, here, there) + open_tabs(
        new_visitor(here.url, "bob"), here, there
    )

    done = log_out(alice, here.url)

    for tab in tabs:
        bye = tab.receive("bye", timeout=1)
        assert (bye["code"], bye["reconnect"]) == (4401, False)
        assert tab.closed_with(timeout=1) == 4401
    assert time.monotonic() - done < 1
    for tab in others:
        assert is_open(tab)
    for each in (here, there):
        assert "Traceback" not in each.output()


@pytest.mark.verify
def test_a_logout_takes_effect_while_redis_is_frozen(start_site, cluster_env, new_visitor, redis):
    site = start_site({**cluster_env(redis), **FAST}, 2)
    here, there = site.servers
    alice = new_visitor(here.url, "alice")
    with_old_cookie = alice.connect_arguments(there.url)
    tabs = open_tabs(alice, here, there)
    others = open_tabs(new_visitor(there.url, "alice"), here, there)
    redis.freeze()

    done = log_out(alice, here.url)

    for tab in tabs:
        bye = tab.receive("bye", timeout=RECHECK_SECONDS + 5)
        # The server can't know whether the browser has a new session by now.
        assert (bye["code"], bye["reconnect"], bye["delay"]) == (4402, True, 2)
        assert tab.closed_with() == 4402
    assert time.monotonic() - done < RECHECK_SECONDS + 5
    with connect(**with_old_cookie) as again:
        assert OpenTab(again).receive("bye")["code"] == 4401
    for tab in others:
        assert is_open(tab)


def test_changing_the_password_logs_out_other_browsers_only(start_with, new_visitor):
    here, there = start_with(NOTIFICATIONS_HEARTBEAT_INTERVAL="3600").servers  # no recheck
    operator, elsewhere = (new_visitor(here.url, "operator") for _ in range(2))
    tabs = open_tabs(operator, here, there)
    others = open_tabs(elsewhere, here, there)
    bobs = open_tabs(new_visitor(here.url, "bob"), there)
    page = f"{here.url}/admin/password_change/"
    new = "correct horse battery"

    operator.submit(page, page, old_password="demo", new_password1=new, new_password2=new)

    for tab in (*tabs, *others):
        bye = tab.receive("bye")
        assert (bye["code"], bye["delay"]) == (4402, 2)
        assert tab.closed_with() == 4402
    for tab in open_tabs(operator, here, there):
        assert is_open(tab)
    assert elsewhere.open_tab(there.url).receive("bye")["code"] == 4401
    assert is_open(*bobs)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("User.objects.filter(username='alice').update(is_active=False)", 4403),
        ("User.objects.filter(username='alice').update(password='!')", 4402),
        (
            "from django.contrib.sessions.models import Session; Session.objects.all().delete()",
            4402,
        ),
        ("User.objects.get(username='alice').delete()", 4401),
    ],
    ids=["deactivated", "other password", "session deleted", "account deleted"],
)
def test_changes_made_outside_the_servers_are_noticed(cluster, new_visitor, change, code):
    here, there = cluster.servers
    tabs = open_tabs(new_visitor(here.url, "alice"), here, there)

    cluster.shell(change)

    for tab in tabs:
        assert tab.receive("bye")["code"] == code
        assert tab.closed_with() == code
    wait_until(lambda: cluster.count("Connection") == 0)


def test_a_command_that_changes_a_group_reaches_open_tabs_at_once(start_with, new_visitor):
    site = start_with(NOTIFICATIONS_HEARTBEAT_INTERVAL="20")
    here, there = site.servers
    tabs = open_tabs(new_visitor(here.url, "alice"), here, there)
    (bobs,) = open_tabs(new_visitor(here.url, "bob"), here)

    site.shell(
        "from django.contrib.auth.models import Group\n"
        "Group.objects.create(name='Drivers').user_set.add(User.objects.get(username='alice'))"
    )

    scopes = {tab.receive("resync")["scope"] for tab in tabs}
    assert len(scopes) == 1
    site.shell(
        "from django.contrib.auth.models import Group\n"
        "broadcast('news', 'for drivers', audience=Group.objects.get(name='Drivers'))"
    )
    for tab in tabs:
        assert tab.receive("news")["content"]["body"] == "for drivers"
    with pytest.raises(TimeoutError):
        bobs.receive("news", timeout=0.5)
