"""A connection is closed when its session ends, with any engine and in any way."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as site
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session as SessionRow
from django.core.cache import cache
from django.db import DatabaseError, transaction
from django.test import Client

from harness.services import redis_server
from notifications.audiences import Recipient
from notifications.channel_layer import sender
from notifications.hub import hub, session_check
from notifications.hub.hub import get_hub
from notifications.protocol import CloseCode
from notifications.routing import websocket_application
from notifications.sessions import authentication
from notifications.sessions.authentication import session_names
from notifications.testing import TIMEOUT_SECONDS, Tab, log_in

# Whose sessions can be ended: those in signed cookies are stored nowhere else (W013).
ENGINES = ["db", "cached_db", "cache", "file"]


@pytest.fixture
def announced(settings, monkeypatch):
    """Changes are announced: the recheck of all sessions comes too late for any test."""
    settings.NOTIFICATIONS_HEARTBEAT_INTERVAL = 30
    monkeypatch.setattr(session_check, "SETTLE_SECONDS", 0.1)


@pytest.fixture
def unannounced(monkeypatch):
    """No change is announced: only the recheck of all sessions finds it."""
    monkeypatch.setattr(session_check, "RECHECK_INTERVALS", 1)
    monkeypatch.setattr(sender, "publish", lambda messages: None)


@pytest.fixture(scope="module")
def redis():
    with redis_server() as server:
        yield server


def browser_of(session):
    browser = Client()
    browser.cookies[site.SESSION_COOKIE_NAME] = session
    return browser


@sync_to_async
def post(session, path, **fields):
    """Post with this session; return the session that the browser has afterwards."""
    browser = browser_of(session)
    browser.post(path, fields)
    return browser.cookies[site.SESSION_COOKIE_NAME].value


async def log_in_to(account, besides=None):
    """Return a new session other than `besides`: signed in the same second, both are equal."""
    while (session := await sync_to_async(log_in)(account)) == besides:
        await asyncio.sleep(0.1)
    return session


async def until(condition):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


async def stays(tab):
    """Return whether the tab is still open, and has received nothing else."""
    await tab.send_json_to({"type": "heartbeat"})
    frames = await tab.receive_rest()
    return frames == [] and not tab.future.done()


async def goodbye(tab):
    """Return the `bye` that closes the tab."""
    bye = await tab.receive("bye")
    assert await tab.closed_with() == bye["code"]
    return bye


# --- Logout


async def test_a_logout_closes_all_connections_of_that_session_only(
    connect, alice, bob, engine, announced
):
    session = await log_in_to(alice)
    other = await log_in_to(alice, besides=session)
    tabs = [await connect(session=session), await connect(session=session)]
    others = [await connect(session=other), await connect(bob)]
    for tab in (*tabs, *others):
        await tab.receive_until_caught_up()

    await post(session, "/logout/")

    for tab in tabs:
        bye = await goodbye(tab)
        assert (bye["code"], bye["reconnect"]) == (4401, False)
    for tab in others:
        assert await stays(tab)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
async def test_the_recheck_finds_a_logout_that_was_not_announced(
    connect, alice, bob, engine, unannounced
):
    session = await log_in_to(alice)
    other = await log_in_to(alice, besides=session)
    tab = await connect(session=session)
    others = [await connect(session=other), await connect(bob)]
    for each in (tab, *others):
        await each.receive_until_caught_up()

    await post(session, "/logout/")

    assert (await goodbye(tab))["code"] == 4402
    assert await (await connect(session=session)).closed_with() == 4401
    for each in others:
        assert await stays(each)


async def test_a_logout_that_is_rolled_back_closes_nothing(connect, alice, announced):
    session = await log_in_to(alice)
    tab = await connect(session=session)
    await tab.receive_until_caught_up()

    @sync_to_async
    def log_out_and_fail():
        with transaction.atomic():
            browser_of(session).post("/logout/")
            transaction.set_rollback(True)

    await log_out_and_fail()

    assert await stays(tab)
    await post(session, "/logout/")
    assert (await goodbye(tab))["code"] == 4401


async def test_a_connection_admitted_while_its_session_ends_is_closed(
    connect, alice, bob, announced, monkeypatch
):
    """Its session was read before it ended, but it joins after the announcement."""
    session = await log_in_to(alice)
    first = await connect(session=session)
    await first.receive_until_caught_up()
    authenticate = get_hub().authenticate

    async def authenticate_slowly(requested):
        admission = await authenticate(requested)
        await post(session, "/logout/")
        assert (await goodbye(first))["code"] == 4401
        return admission

    monkeypatch.setattr(get_hub(), "authenticate", authenticate_slowly)
    late = await connect(session=session)

    assert (await goodbye(late))["code"] == 4401
    assert len(get_hub()._connections) == 0


@pytest.mark.parametrize(
    ("of_connection", "of_logout"),
    [(["old"], ["new", "old"]), (["new", "old"], ["old"])],
    ids=["the logout at a server with the new one", "the connection at a server with the new one"],
)
async def test_a_logout_closes_connections_on_servers_with_another_secret_key(
    connect, alice, announced, settings, of_connection, of_logout
):
    def rotate(keys):
        settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS = [key * 10 for key in keys]

    rotate(["old"])
    session = await log_in_to(alice)
    rotate(of_connection)
    tab = await connect(session=session)
    await tab.receive_until_caught_up()

    rotate(of_logout)
    await post(session, "/logout/")

    assert (await goodbye(tab))["code"] == 4401


async def test_an_ended_session_is_remembered_only_for_a_while(
    connect, alice, announced, monkeypatch
):
    check = get_hub()._session_check
    session = await log_in_to(alice)
    tab = await connect(session=session)
    await tab.receive_until_caught_up()

    check.end([*session_names(session), "another"], CloseCode.NOT_LOGGED_IN)

    assert (await goodbye(tab))["code"] == 4401
    assert await (await connect(session=session)).closed_with() == 4401
    monkeypatch.setattr(session_check, "ENDED_SESSION_MEMORY_SECONDS", 0)
    assert await (await connect(session=session)).receive("register")
    check.end([], CloseCode.NOT_LOGGED_IN)
    assert check._ended == {}


# --- Ends that are not announced


def test_all_sessions_are_rechecked_within_a_minute():
    assert session_check.SESSION_RECHECK_SECONDS + 10 <= 60  # the recheck itself takes a while


async def test_an_expired_session_closes_its_connection(
    connect, alice, engine, unannounced, settings
):
    settings.SESSION_COOKIE_AGE = 2
    session = await log_in_to(alice)
    tab = await connect(session=session)
    assert await tab.receive("register")

    # These engines miss an expired session: the browser might have another one.
    expected = 4401 if engine in {"db", "cached_db"} else 4402
    assert (await goodbye(tab))["code"] == expected
    assert await (await connect(session=session)).closed_with() == 4401


def delete_session(session):
    if site.SESSION_ENGINE.endswith("db"):
        # cached_db keeps a copy in the cache, so to Django the session still exists.
        SessionRow.objects.filter(pk=session)._raw_delete("default")
    elif site.SESSION_ENGINE.endswith("cache"):
        cache.delete(f"django.contrib.sessions.cache{session}")
    else:
        (Path(site.SESSION_FILE_PATH) / f"sessionid{session}").unlink()


WAYS = {
    "password": (lambda alice, _: User.objects.filter(pk=alice.pk).update(password="other"), 4402),
    "active": (lambda alice, _: User.objects.filter(pk=alice.pk).update(is_active=False), 4403),
    "account": (lambda alice, _: User.objects.filter(pk=alice.pk)._raw_delete("default"), 4401),
    "session": (lambda _, session: delete_session(session), 4402),
}


@pytest.mark.parametrize(
    ("engine", "way"),
    [(engine, way) for engine in ENGINES for way in WAYS]
    + [("signed_cookies", way) for way in WAYS if way != "session"],
    indirect=["engine"],
)
async def test_the_recheck_finds_an_ended_session_without_a_signal(
    connect, alice, bob, engine, unannounced, way
):
    session = await log_in_to(alice)
    tab, bobs_tab = await connect(session=session), await connect(bob)
    for each in (tab, bobs_tab):
        await each.receive_until_caught_up()
    change, code = WAYS[way]

    await sync_to_async(change)(alice, session)

    bye = await goodbye(tab)
    assert bye["code"] == code
    # A browser may have another session by now: it reconnects, and is refused if it has none.
    assert (bye["reconnect"], bye["delay"]) == (code == 4402, 2 if code == 4402 else 0)
    refused = await (await connect(session=session)).closed_with()
    assert refused == (4403 if code == 4403 else 4401)
    assert await stays(bobs_tab)


async def test_a_session_that_passes_to_another_account_closes_its_connections(
    connect, alice, bob, unannounced
):
    """As done by packages that let operators see the site as another user."""
    session = await log_in_to(alice)
    tab = await connect(session=session)
    await tab.receive_until_caught_up()

    @sync_to_async
    def pass_on():
        browser, bobs = browser_of(session), Client()
        bobs.force_login(bob)
        own = browser.session
        own.update(dict(bobs.session.items()))
        own.save()

    await pass_on()

    assert (await goodbye(tab))["code"] == 4402
    assert await (await connect(session=session)).receive("register")


async def test_the_recheck_neither_writes_nor_restores_a_session(
    connect, alice, engine, unannounced, traces, monkeypatch
):
    session = await log_in_to(alice)
    tab = await connect(session=session)
    await tab.receive_until_caught_up()
    if engine == "cached_db":
        cache.clear()
    rechecks = []
    recheck = session_check.recheck

    def counted(sessions):
        rechecks.append(len(sessions))
        return recheck(sessions)

    monkeypatch.setattr(session_check, "recheck", counted)
    before = await sync_to_async(traces)()

    await until(lambda: len(rechecks) >= 3)

    assert await sync_to_async(traces)() == before
    assert await stays(tab)


# --- Many, and outages


async def test_a_batch_of_sessions_is_rechecked_with_three_queries(
    connect, alice, bob, carol, announced, django_assert_num_queries, monkeypatch
):
    tabs = [await connect(account) for account in (alice, alice, bob, bob, carol)]
    for tab in tabs:
        await tab.receive_until_caught_up()
    monkeypatch.setattr(session_check, "SESSIONS_PER_BATCH", 2)
    rechecks = []

    async def run(recheck, sessions):
        def counted():
            with django_assert_num_queries(3):
                return recheck(sessions)

        rechecks.append(len(sessions))
        return await sync_to_async(counted)()

    check = get_hub()._session_check
    monkeypatch.setattr(check, "_database", SimpleNamespace(run=run))
    await check._recheck(list(check._connections))

    assert rechecks == [2, 2, 1]
    for tab in tabs:
        assert await stays(tab)


async def test_several_tabs_of_one_session_are_rechecked_once(
    connect, alice, announced, monkeypatch
):
    session = await log_in_to(alice)
    tabs = [await connect(session=session) for _ in range(3)]
    rechecks = []
    monkeypatch.setattr(
        session_check,
        "recheck",
        lambda sessions: rechecks.append(len(sessions)) or authentication.recheck(sessions),
    )
    check = get_hub()._session_check

    await check._recheck(list(check._connections))

    assert rechecks == [1]
    for tab in tabs:
        await tab.receive_until_caught_up()


async def test_no_connection_is_closed_while_sessions_cannot_be_read(
    connect, alice, bob, unannounced, monkeypatch
):
    session = await log_in_to(alice)
    tabs = [await connect(session=session), await connect(bob)]
    for tab in tabs:
        await tab.receive_until_caught_up()
    monkeypatch.setattr(hub, "RETRY_SECONDS", 0.1)
    failures = []

    def fail(sessions):
        failures.append(sessions)
        raise DatabaseError("away")

    recheck = session_check.recheck
    monkeypatch.setattr(session_check, "recheck", fail)
    await until(lambda: len(failures) >= 3)
    for tab in tabs:
        assert await stays(tab)
    await post(session, "/logout/")

    monkeypatch.setattr(session_check, "recheck", recheck)

    assert (await goodbye(tabs[0]))["code"] == 4402
    assert await stays(tabs[1])


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_while_the_session_cache_is_down_connections_stay_and_new_ones_are_refused(
    connect, alice, unannounced, settings, redis, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("notifications"), "propagate", True)
    monkeypatch.setattr(hub, "RETRY_SECONDS", 0.1)
    with_redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache"}
    settings.CACHES = {"default": {**with_redis, "LOCATION": redis.url}}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    session = await log_in_to(alice)
    tab = await connect(session=session)
    await tab.receive_until_caught_up()

    settings.CACHES = {"default": {**with_redis, "LOCATION": "redis://127.0.0.1:1"}}

    await until(lambda: sum("SessionsUnavailable" in line for line in caplog.messages) >= 3)
    assert await stays(tab)
    late = await goodbye(await connect(session=session))
    assert (late["code"], late["reconnect"]) == (4503, True)

    settings.CACHES = {"default": {**with_redis, "LOCATION": redis.url}}
    assert await (await connect(session=session)).receive("register")
    assert await stays(tab)


# --- Changes announced by a signal


def change_password(alice):
    alice.set_password("another")
    alice.save()


def deactivate(alice):
    alice.is_active = False
    alice.save(update_fields=["is_active"])


ENDS = {
    "password": (change_password, 4402),
    "active": (deactivate, 4403),
    "account": (lambda alice: alice.delete(), 4401),
    "accounts": (lambda alice: User.objects.filter(pk=alice.pk).delete(), 4401),
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_changed_account_loses_its_connections_at_once(connect, alice, bob, announced, end):
    tab, bobs_tab = await connect(alice), await connect(bob)
    for each in (tab, bobs_tab):
        await each.receive_until_caught_up()
    change, code = ENDS[end]

    await sync_to_async(change)(alice)

    assert (await goodbye(tab))["code"] == code
    assert await stays(bobs_tab)


async def test_changing_the_password_reconnects_with_the_new_session(
    connect, operator, engine, announced
):
    """The view renews the session; those of other devices are refused."""
    session = await log_in_to(operator)
    elsewhere = await log_in_to(operator, besides=session)
    tab, others = await connect(session=session), await connect(session=elsewhere)
    for each in (tab, others):
        await each.receive_until_caught_up()
    new = {"new_password1": "correct horse", "new_password2": "correct horse"}

    renewed = await post(session, "/admin/password_change/", old_password="demo", **new)

    assert renewed != session
    for each in (tab, others):
        bye = await goodbye(each)
        assert (bye["code"], bye["reconnect"], bye["delay"]) == (4402, True, 2)
    assert await (await connect(session=renewed)).receive("register")
    assert await (await connect(session=elsewhere)).closed_with() == 4401


async def test_a_login_as_another_account_closes_the_tabs_of_the_first(
    connect, alice, bob, engine, announced
):
    session = await log_in_to(alice)
    elsewhere = await log_in_to(alice, besides=session)
    tab, device = await connect(session=session), await connect(session=elsewhere)
    for each in (tab, device):
        await each.receive_until_caught_up()

    @sync_to_async
    def log_bob_in():
        browser = browser_of(session)
        # The demo's own page redirects a logged-in user; the admin's asks alice, who is no staff.
        browser.post("/admin/login/", {"username": "bob", "password": "demo"})
        return browser.cookies[site.SESSION_COOKIE_NAME].value

    bob.is_staff = True
    await bob.asave()
    renewed = await log_bob_in()

    assert renewed != session
    assert (await goodbye(tab))["code"] == 4402
    # Her page asks for her inbox with a session that is now his: it is refused.
    hers = Tab(websocket_application, renewed, account=alice.pk)
    await hers.connect(TIMEOUT_SECONDS)
    assert await hers.closed_with() == 4401
    assert await stays(device)


async def test_a_login_or_an_irrelevant_change_causes_no_recheck(
    connect, alice, announced, monkeypatch
):
    tab = await connect(alice)
    await tab.receive_until_caught_up()
    rechecks = []
    monkeypatch.setattr(session_check, "recheck", lambda sessions: rechecks.append(sessions) or [])

    await log_in_to(alice)
    alice.first_name = "Alice"
    await alice.asave(update_fields=["first_name"])

    assert await stays(tab)
    assert rechecks == []


# --- Audiences


def join(alice, group):
    alice.groups.add(group)


def add_as_member(alice, group):
    group.user_set.set([alice])


def become_staff(alice, group):
    alice.is_staff = True
    alice.save()


@pytest.mark.parametrize("change", [join, add_as_member, become_staff])
async def test_joining_an_audience_reloads_the_tab_at_once(connect, alice, bob, announced, change):
    group = await Group.objects.acreate(name="Drivers")
    tab, bobs_tab = await connect(alice), await connect(bob)
    for each in (tab, bobs_tab):
        await each.receive_until_caught_up()

    await sync_to_async(change)(alice, group)

    joined = await tab.receive("resync")
    assert joined["scope"] == (await sync_to_async(Recipient.of)(alice)).audience_hash
    assert await stays(bobs_tab)


LEAVES = {
    "left": lambda alice, group: alice.groups.remove(group),
    "cleared": lambda alice, _: alice.groups.clear(),
    "removed": lambda alice, group: group.user_set.remove(alice),
    "all removed": lambda _, group: group.user_set.clear(),
    "deleted": lambda _, group: group.delete(),
    "all deleted": lambda *_: Group.objects.all().delete(),
}


@pytest.mark.parametrize("way", LEAVES)
async def test_leaving_an_audience_reloads_the_tab_at_once(connect, alice, bob, announced, way):
    group = await Group.objects.acreate(name="Drivers")
    await alice.groups.aadd(group)
    tab, bobs_tab = await connect(alice), await connect(bob)
    for each in (tab, bobs_tab):
        await each.receive_until_caught_up()

    await sync_to_async(LEAVES[way])(alice, group)

    left = await tab.receive("resync")
    assert left["scope"] == (await sync_to_async(Recipient.of)(bob)).audience_hash
    assert await stays(bobs_tab)
