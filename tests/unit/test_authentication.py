"""Admission of a connection: by its session, which is only read, and by the page's origin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends import db as site_engine
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.contrib.sessions.models import Session as SessionRow
from django.core.cache import cache
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter
from django.views.decorators.csrf import csrf_protect

from notifications.protocol import CloseCode
from notifications.sessions.adapter import ADAPTER
from notifications.sessions.authentication import (
    Admission,
    Session,
    authenticate,
    recheck,
    session_names,
)
from notifications.sessions.handshake import _ORIGIN, handshake_request, is_own_origin

pytestmark = pytest.mark.django_db

Traces = Callable[[], Any]
REFUSED = Admission(None, CloseCode.NOT_LOGGED_IN)


@pytest.fixture(autouse=True)
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read sessions in bulk, as with a tested Django, or one by one."""
    is_on = getattr(request, "param", "in bulk") == "in bulk"
    monkeypatch.setattr(ADAPTER, "_reason", "" if is_on else "switched off")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("reading", ["in bulk", "one by one"], indirect=True)


def handshake(
    cookie: str | None = "",
    origin: str | None = None,
    host: str = "testserver",
    scheme: str = "ws",
    root_path: str = "",
) -> ASGIRequest:
    headers = {"host": host, "cookie": cookie, "origin": origin, "daphne-root-path": root_path}
    return handshake_request(
        {
            "type": "websocket",
            "scheme": scheme,
            "path": "/ws/notifications/",
            "root_path": root_path,
            "query_string": b"",
            "headers": [
                (name.encode(), value.encode("latin-1"))
                for name, value in headers.items()
                if value is not None
            ],
        }
    )


def admission(session: str) -> Admission:
    [admission] = authenticate([Session.of(handshake(f"sessionid={session}"))])
    return admission


def log_in(account: User) -> str:
    browser = Client()
    browser.force_login(account)
    return browser.cookies["sessionid"].value


def test_a_session_admits_its_account(alice: User, engine: str, traces: Traces) -> None:
    alice.groups.add(group := Group.objects.create(name="Customers"))
    session = log_in(alice)
    before = traces()

    found = admission(session)

    assert found.recipient
    assert found.recipient.account_id == alice.pk
    assert found.recipient.audiences == {"everyone", f"group:{group.pk}"}
    assert traces() == before


def test_an_expired_session_is_refused_and_not_changed(
    alice: User, engine: str, traces: Traces, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = log_in(alice)
    before = traces()
    later = timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE + 1)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    monkeypatch.setattr("time.time", lambda: later.timestamp())

    assert admission(session) == REFUSED

    # The cache is not compared: it drops expired entries.
    rows, _, files = traces()
    assert (rows, files) == (before[0], before[2])


@pytest.mark.parametrize(
    "session",
    ["", "x", "0123456789abcdefghijklmnopqrstuv", "../../etc/passwd", "a" * 5000, "ä" * 20]
    + ['"abcdefgh\\000ijklmnop"', '"abcdefgh\\012ijklmnop"', "a:b:c", "=;,"],
    ids=lambda value: value[:20],
)
def test_a_forged_session_is_refused_and_stores_nothing(
    engine: str, traces: Traces, session: str
) -> None:
    before = traces()

    assert admission(session) == REFUSED
    assert traces() == before


@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
def test_a_damaged_session_is_refused_and_not_changed(
    alice: User, engine: str, traces: Traces, tmp_path: Path
) -> None:
    session = log_in(alice)
    cache.clear()
    SessionRow.objects.update(session_data="damaged")
    for path in tmp_path.iterdir():
        path.write_text("damaged")
    before = traces()

    assert admission(session[:-1] + "x" if engine == "signed_cookies" else session) == REFUSED
    rows, _, files = traces()
    assert (rows, files) == (before[0], before[2])


@pytest.mark.parametrize("reading", ["in bulk", "one by one"], indirect=True)
def test_a_session_is_read_without_its_copy_in_the_cache(alice: User, settings: Any) -> None:
    """Reading could restore the copy that a logout has just deleted."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
    session = log_in(alice)
    copies = dict(cache._cache)
    cache.clear()

    assert admission(session).recipient
    assert not cache._cache

    SessionRow.objects.all().delete()
    cache._cache.update(copies)
    assert admission(session) == REFUSED


def test_an_anonymous_visitors_session_is_refused(engine: str) -> None:
    store = import_module(f"django.contrib.sessions.backends.{engine}").SessionStore()
    store["basket"] = [1, 2]
    store.save()

    assert admission(store.session_key) == REFUSED


def test_without_a_session_cookie_no_query_is_made() -> None:
    with CaptureQueriesContext(connection) as queries:
        assert authenticate([Session.of(handshake())]) == [REFUSED]
        assert authenticate([Session.of(handshake("other=1; csrftoken=x"))]) == [REFUSED]
    assert not len(queries)


def test_authenticating_only_reads(alice: User) -> None:
    session = log_in(alice)

    with CaptureQueriesContext(connection) as queries:
        admission(session)

    # The session, the account, its groups.
    assert [query["sql"].split()[0] for query in queries] == ["SELECT"] * 3


# --- Accounts


def test_a_deactivated_account_gets_its_own_close_code(alice: User) -> None:
    session = log_in(alice)
    User.objects.update(is_active=False)

    assert admission(session) == Admission(None, CloseCode.DEACTIVATED)


def test_a_deactivated_account_with_another_password_is_refused(alice: User) -> None:
    session = log_in(alice)
    alice.is_active = False
    alice.set_password("another")
    alice.save()

    assert admission(session) == REFUSED


def test_a_deleted_account_is_refused(alice: User) -> None:
    session = log_in(alice)
    alice.delete()

    assert admission(session) == REFUSED


class BanningBackend(ModelBackend):
    banned: ClassVar[set[str]] = set()

    def user_can_authenticate(self, user: Any) -> bool:
        return user.username not in self.banned


class EmptyBackend(ModelBackend):
    def get_user(self, user_id: Any) -> None:
        return None


def test_an_account_that_its_backend_bans_is_refused(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.BanningBackend"]
    session = log_in(alice)
    assert admission(session).recipient is not None

    monkeypatch.setattr(BanningBackend, "banned", {"alice"})

    assert admission(session) == REFUSED


def test_an_account_that_its_backend_hides_is_refused(alice: User, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.EmptyBackend"]

    assert admission(log_in(alice)) == REFUSED


def test_a_password_change_ends_older_sessions(alice: User) -> None:
    old = log_in(alice)
    alice.set_password("another")
    alice.save()

    assert admission(old) == REFUSED
    assert admission(log_in(alice)).recipient


def test_a_rotated_secret_key_ends_no_session(
    alice: User, engine: str, traces: Traces, settings: Any
) -> None:
    session = log_in(alice)
    before = traces()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10
    assert admission(session).recipient
    [found] = recheck([Session(session)])
    assert found.recipient

    settings.SECRET_KEY_FALLBACKS = []
    assert admission(session) == REFUSED
    assert traces() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.pop(SESSION_KEY),
        lambda session: session.update({SESSION_KEY: "nobody"}),
        lambda session: session.update({SESSION_KEY: "999999"}),
        lambda session: session.pop(BACKEND_SESSION_KEY),
        lambda session: session.update({BACKEND_SESSION_KEY: "elsewhere.Backend"}),
        lambda session: session.pop("_auth_user_hash"),
        lambda session: session.update({"_auth_user_hash": None}),
        lambda session: session.update({"_auth_user_hash": "ä"}),
    ],
)
def test_a_session_without_a_valid_account_is_refused(
    alice: User, change: Callable[..., Any]
) -> None:
    browser = Client()
    browser.force_login(alice)
    session = browser.session
    change(session)
    session.save()

    assert admission(session.session_key) == REFUSED


# --- Origins

# As Daphne takes it from a header of any client.
each_root_path = pytest.mark.parametrize("root_path", ["", "https://evil.example", "//testserver"])
TRUSTED = ["https://www.example.com", "https://*.example.org", "capacitor://localhost"]
UNUSUAL_ORIGINS = [
    *(None, "", "null", "undefined", "*", "\x00", " ", "http://", "file://", "about:blank"),
    *("testserver", "//testserver", "testserver:80", "http:testserver", "http:/testserver"),
    *("https://testserver", "ftp://testserver", "ws://testserver", "wss://testserver"),
    *("chrome-extension://testserver", "moz-extension://testserver", "data:text/html,x"),
    *("blob:http://testserver/x", "javascript:alert(1)", "capacitor://testserver"),
    *(
        "http://testserver:80",
        "http://testserver:8000",
        "http://testserver:",
        "http://testserver:x",
    ),
    *("http://testserver.", "http://.testserver", "http://testserver.evil.example"),
    *("http://eviltestserver", "http://evil.example", "http://evil.example/testserver"),
    *("http://user@testserver", "http://testserver@evil.example", "http://:@testserver"),
    *("http://testserver/", "http://testserver/x", "http://testserver?x", "http://testserver#x"),
    *("HTTP://testserver", "http://TESTSERVER", "http://Testserver", " http://testserver"),
    *("http://testserver ", "http://testserver\t", "http://testserver,http://testserver"),
    *("http://testserver,http://evil.example", "http://evil.example,http://testserver"),
    *("http://tëstserver", "http://xn--testserver-", "http://[::1", "http://[testserver]"),
    # Beside those that are trusted.
    *("http://www.example.com", "https://www.example.com:443", "https://www.example.com."),
    *("https://example.com", "https://wwww.example.com", "https://www.example.com/"),
    *("http://shop.example.org", "https://shop.example.org:8443", "https://shopexample.org"),
    *("https://shop.example.org.", "https://shop.example.org.evil.example", "https://.org"),
    *("https://evil.example@shop.example.org", "https://evil.example/.example.org"),
    *("https://evil.example?.example.org", "https://evil.example#.example.org"),
    *("https://evil.example\\.example.org", "https://evil.example:443@shop.example.org"),
    *("https://SHOP.EXAMPLE.ORG", "https://shop.example.org/x", "https://a b.example.org"),
    *("capacitor://localhost:80", "capacitor://evil.example", "http://localhost"),
]

# Unusual values that Django accepts.
UNUSUALLY_TRUSTED = [
    "https://*.Upper.example",
    "https://*.example.net:8443",
    "https://*.slash.example/",
    "https://*star.example",
    "https://*",
    "https://in.*.the.middle.example",
    "http://UPPER.example",
]
LIKELY_ORIGINS = [
    *("http://testserver", "https://testserver", "http://testserver:8000"),
    *("https://testserver:8000", "http://evil.example", "http://[::1]", "https://[::1]"),
    *("https://www.example.com", "https://shop.example.org", "https://example.org"),
    *("https://a.b.example.org", "http://example.org", "https://.example.org"),
    *("https://shop.upper.example", "https://upper.example", "http://upper.example"),
    *("http://UPPER.example", "https://shop.Upper.example", "https://shop.example.net:8443"),
    *("https://shop.example.net", "https://example.net:8443", "https://shop.slash.example"),
    *("https://star.example", "https://shop.star.example", "https://northstar.example"),
    *("https://in.x.the.middle.example", "https://the.middle.example"),
]


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("http://testserver", "testserver", "ws"),
        ("https://testserver", "testserver", "wss"),
        ("http://testserver:8000", "testserver:8000", "ws"),
        ("https://www.example.com", "testserver", "ws"),
        ("https://shop.example.org", "testserver", "ws"),
        ("https://example.org", "testserver", "ws"),
        ("https://xn--mller-kva.example.org", "testserver", "ws"),
        ("capacitor://localhost", "testserver", "ws"),
        # The page of a host that ends with a dot has a dot in both.
        ("http://testserver.", "testserver.", "ws"),
    ],
)
def test_a_page_of_the_site_may_connect(settings: Any, origin: str, host: str, scheme: str) -> None:
    settings.CSRF_TRUSTED_ORIGINS = TRUSTED

    assert is_own_origin(handshake(origin=origin, host=host, scheme=scheme))


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (None, "testserver", "ws"),
        ("", "testserver", "ws"),
        ("null", "testserver", "ws"),
        ("testserver", "testserver", "ws"),
        ("http://evil.example", "testserver", "ws"),
        ("http://testserver.evil.example", "testserver", "ws"),
        ("http://eviltestserver", "testserver", "ws"),
        ("https://testserver", "testserver", "ws"),
        ("http://testserver", "testserver", "wss"),
        ("http://testserver:8000", "testserver", "ws"),
        ("http://testserver", "testserver:8000", "ws"),
        ("http://testserver/", "testserver", "ws"),
        ("http://user@testserver", "testserver", "ws"),
        ("http://[::1", "testserver", "ws"),
        ("file://", "testserver", "ws"),
        ("\x00", "testserver", "ws"),
        # A host, and so a page, of another site.
        ("http://evil.example", "evil.example", "ws"),
        ("http://", "", "ws"),
    ],
)
@each_root_path
def test_a_page_of_another_site_may_not_connect(
    origin: str | None, host: str, scheme: str, root_path: str
) -> None:
    request = handshake(origin=origin, host=host, scheme=scheme, root_path=root_path)

    assert not is_own_origin(request)


@pytest.mark.parametrize("origin", UNUSUAL_ORIGINS)
@pytest.mark.parametrize("hosts", [["testserver"], ["*"]])
@each_root_path
def test_a_page_of_an_unusual_origin_may_not_connect(
    settings: Any, origin: str | None, hosts: list[str], root_path: str
) -> None:
    """Even with any host allowed, the host must be the page's own."""
    settings.ALLOWED_HOSTS = hosts
    settings.CSRF_TRUSTED_ORIGINS = TRUSTED

    assert not is_own_origin(handshake(origin=origin, root_path=root_path))


def is_trusted_by_django(origin: str, host: str, is_secure: bool) -> bool:
    """Return whether Django accepts a POST with a valid CSRF token from this origin."""
    token = "a" * 32
    request = RequestFactory().post("/", secure=is_secure, headers={"X-CSRFToken": token})
    request.META.update(HTTP_HOST=host, HTTP_ORIGIN=origin)
    request.COOKIES["csrftoken"] = token
    return csrf_protect(lambda request: HttpResponse())(request).status_code == 200


@pytest.mark.parametrize("is_secure", [False, True])
@pytest.mark.parametrize("host", ["testserver", "testserver:8000", "evil.example", "[::1]", ""])
def test_origins_are_accepted_and_refused_as_by_django(
    settings: Any, host: str, is_secure: bool
) -> None:
    settings.ALLOWED_HOSTS = ["testserver", "[::1]"]
    settings.CSRF_TRUSTED_ORIGINS = TRUSTED + UNUSUALLY_TRUSTED
    origins = [origin for origin in UNUSUAL_ORIGINS if origin] + LIKELY_ORIGINS
    results = {
        origin: is_own_origin(handshake(None, origin, host, "wss" if is_secure else "ws"))
        for origin in origins
        if _ORIGIN.fullmatch(origin)
    }

    assert results == {origin: is_trusted_by_django(origin, host, is_secure) for origin in results}
    assert {*results.values()} == {True, False}


def test_an_error_report_contains_no_session(
    alice: User, monkeypatch: pytest.MonkeyPatch, rf: Any
) -> None:
    session = log_in(alice)

    def fail(accounts: Any) -> None:
        raise RuntimeError("no groups today")

    monkeypatch.setattr("notifications.sessions.authentication.Recipient.of_many", fail)
    request = handshake(f"sessionid={session}", origin="http://testserver")
    # Django's own: the demo's hides all variables.
    request.exception_reporter_filter = SafeExceptionReporterFilter()
    try:
        authenticate([Session.of(request)])
    except RuntimeError as error:
        assert error.__traceback__
        # Without this test's own variables.
        traceback = error.__traceback__.tb_next
        reporter = ExceptionReporter(request, RuntimeError, error, traceback)

    for report in (reporter.get_traceback_html(), reporter.get_traceback_text()):
        assert "no groups today" in report
        assert session not in report
        assert alice.get_session_auth_hash() not in report


# --- Rechecking the sessions of open connections


def rechecked(session: str) -> Admission:
    [admission] = recheck([Session(session)])
    return admission


def test_a_session_that_is_still_valid_is_admitted_again(
    alice: User, engine: str, traces: Traces
) -> None:
    session = log_in(alice)
    before = traces()

    assert rechecked(session) == admission(session)
    assert rechecked(session).recipient
    assert traces() == before


def test_a_session_that_may_have_a_new_key_gets_its_own_close_code(
    alice: User, engine: str
) -> None:
    changed = Admission(None, CloseCode.SESSION_CHANGED)
    session = log_in(alice)
    assert rechecked("0123456789abcdefghijklmnopqrstuv") == changed

    User.objects.update(password="another")
    assert rechecked(session) == changed
    assert admission(session) == REFUSED


def test_a_session_that_has_ended_for_good_must_not_reconnect(alice: User, bob: User) -> None:
    deactivated, deleted, expired = log_in(alice), log_in(bob), log_in(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    bob.delete()
    SessionRow.objects.filter(pk=expired).update(expire_date=timezone.now())

    sessions = [Session(key) for key in (deactivated, deleted, expired)]

    assert recheck(sessions) == [Admission(None, CloseCode.DEACTIVATED), REFUSED, REFUSED]


def test_a_session_does_not_show_its_key() -> None:
    session = Session("0123456789abcdefghijklmnopqrstuv")

    assert session.key not in repr(session)
    assert session.key not in session.name
    assert session.names == session_names(session.key) != session_names("another")


def test_the_name_of_a_session_needs_the_secret_key(settings: Any) -> None:
    names = session_names("0123456789abcdefghijklmnopqrstuv")
    settings.SECRET_KEY = "another" * 10

    assert session_names("0123456789abcdefghijklmnopqrstuv") != names


class FailingEngine(DatabaseSessionStore):
    def load(self) -> dict[str, Any]:
        raise ConnectionError("the store of a site's own engine can't be reached")


class EngineWithItsOwnLoad(DatabaseSessionStore):
    """Its `load` adds something to the session."""

    def load(self) -> dict[str, Any]:
        stored = super().load()
        return {**stored, "more": True} if stored else {}


def test_a_sites_own_engine_loads_each_session(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_engine, "SessionStore", EngineWithItsOwnLoad)

    assert admission(log_in(alice)).recipient
    assert rechecked("0123456789abcdefghijklmnopqrstuv").refusal == CloseCode.SESSION_CHANGED


def test_a_failing_engine_ends_no_session(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    session = log_in(alice)
    monkeypatch.setattr(site_engine, "SessionStore", FailingEngine)

    with pytest.raises(ConnectionError):
        rechecked(session)


def test_many_handshakes_take_as_many_queries_as_one(alice, bob, django_assert_max_num_queries):
    for account in (alice, bob):
        account.groups.add(Group.objects.create(name=f"Friends of {account}"))
    requests = [handshake(f"sessionid={log_in(account)}") for account in (alice, bob) * 20]
    requests += [handshake(), handshake("sessionid=forged")]

    with django_assert_max_num_queries(3):
        admissions = authenticate([Session.of(request) for request in requests])

    recipients = [admission.recipient for admission in admissions]
    keys = [recipient and recipient.account_id for recipient in recipients]
    assert keys == [alice.pk, bob.pk] * 20 + [None, None]
    assert all(len(recipient.audiences) == 2 for recipient in recipients[:40])
