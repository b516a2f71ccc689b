"""How many requests are at work at once, in this process and for an account."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connections
from django.http import HttpResponse
from django.test import Client, RequestFactory

from notifications import views
from notifications.channel_layer import sender
from notifications.request_limit import limited

from .requests import CHANGES, ITEMS, MARK, post

pytestmark = pytest.mark.django_db(transaction=True)

MAX_SECONDS = 30
Work = Callable[[Client], "Future[Any]"]


def log_in(account: User) -> Client:
    browser = Client()
    browser.force_login(account)
    return browser


class Gate:
    """Holds requests for a page of the inbox while they are at work."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()
        self.read_page = views.pages.read_page

    def hold(self, *args: Any, **options: Any) -> Any:
        self.entered.release()
        assert self.opened.wait(MAX_SECONDS)
        return self.read_page(*args, **options)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(views.pages, "read_page", gate.hold)
    return gate


@pytest.fixture
def executor(gate: Gate) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as executor:
        yield executor
        gate.opened.set()


@pytest.fixture
def work(gate: Gate, executor: ThreadPoolExecutor) -> Work:
    """Begin a request in another thread; return its answer's future once it is at work."""

    def get(browser: Client) -> Any:
        try:
            return browser.get(ITEMS)
        finally:
            connections.close_all()

    def work(browser: Client) -> Future[Any]:
        answer = executor.submit(get, browser)
        assert gate.entered.acquire(timeout=MAX_SECONDS)
        return answer

    return work


def assert_busy(answer: Any) -> None:
    assert answer.status_code == 503
    assert answer.json() == {"error": "Too many requests at once. Try again in a moment."}
    assert 1 <= int(answer["Retry-After"]) <= 3
    assert "no-store" in answer["Cache-Control"]


def test_more_requests_of_one_account_are_refused_and_others_are_answered(
    settings: Any, alice: User, bob: User, work: Work, gate: Gate
) -> None:
    settings.NOTIFICATIONS_MAX_REQUESTS_PER_ACCOUNT = 3
    browser = log_in(alice)
    answers = [work(browser) for _ in range(3)]

    for path in (ITEMS, f"{CHANGES}?seq=0&broadcast_seq=0&epoch=1", "/notifications/"):
        assert_busy(browser.get(path))
    assert_busy(post(browser, {"ids": [], "as": "read"}))
    assert_busy(browser.post(MARK, {"as": "read", "ids": "n1"}))
    assert_busy(log_in(alice).get(ITEMS))  # another session of hers
    assert post(log_in(bob), {"ids": [], "as": "read"}).status_code == 200
    assert Client().get(ITEMS).status_code == 401

    gate.opened.set()
    assert [answer.result().status_code for answer in answers] == [200] * 3
    assert browser.get(ITEMS).status_code == 200


def test_more_requests_in_all_than_the_process_takes_are_refused(
    settings: Any, alice: User, bob: User, work: Work, gate: Gate
) -> None:
    settings.NOTIFICATIONS_MAX_REQUESTS_PER_WORKER = 2
    answers = [work(log_in(alice)), work(log_in(bob))]

    assert_busy(log_in(bob).get(ITEMS))
    assert_busy(Client().get(ITEMS))

    gate.opened.set()
    assert [answer.result().status_code for answer in answers] == [200] * 2
    assert Client().get(ITEMS).status_code == 401


def test_a_request_that_is_refused_for_its_session_queries_nothing(
    settings: Any, alice: User, work: Work, django_assert_num_queries: Any
) -> None:
    settings.NOTIFICATIONS_MAX_REQUESTS_PER_ACCOUNT = 2
    browser = log_in(alice)
    for _ in range(2):
        work(browser)

    with django_assert_num_queries(0):
        assert_busy(browser.get(ITEMS))


def test_requests_of_nobody_are_not_counted_together(settings: Any, alice: User) -> None:
    settings.NOTIFICATIONS_MAX_REQUESTS_PER_ACCOUNT = 1
    two_at_once = limited(limited(lambda request: HttpResponse()))
    request = RequestFactory().get("/")

    request.user = AnonymousUser()
    assert two_at_once(request).status_code == 200
    request.user = alice
    assert two_at_once(request).status_code == 503


def test_there_may_be_no_limit(settings: Any, alice: User, work: Work, gate: Gate) -> None:
    settings.NOTIFICATIONS_MAX_REQUESTS_PER_ACCOUNT = None
    settings.NOTIFICATIONS_MAX_REQUESTS_PER_WORKER = None
    answers = [work(log_in(alice)) for _ in range(34)]

    gate.opened.set()
    assert {answer.result().status_code for answer in answers} == {200}


def test_a_request_that_fails_is_no_longer_at_work(
    settings: Any, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.NOTIFICATIONS_MAX_REQUESTS_PER_WORKER = 1
    browser = log_in(alice)
    browser.raise_request_exception = False

    with monkeypatch.context() as patch:
        patch.setattr(views.pages, "read_page", None)
        assert [browser.get(ITEMS).status_code for _ in range(2)] == [500, 500]
    assert browser.get(ITEMS).status_code == 200


def test_no_database_connection_is_held_while_the_answer_is_sent(
    alice: User, executor: ThreadPoolExecutor, gate: Gate
) -> None:
    gate.opened.set()
    browser = log_in(alice)

    def is_connected() -> bool:
        # The test client keeps connections that a server would close after the answer.
        browser.get(ITEMS)
        return connections["default"].connection is not None

    assert not executor.submit(is_connected).result()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ITEMS), ("GET", CHANGES), ("GET", "/notifications/"), ("POST", MARK)]
    + [("GET", "/healthz"), ("GET", "/readyz")],
)
def test_a_request_that_waits_for_none_holds_no_connection_in_a_site_with_atomic_requests(
    monkeypatch: pytest.MonkeyPatch,
    executor: ThreadPoolExecutor,
    method: str,
    path: str,
) -> None:
    """A transaction around the view would take one for each request, before any limit."""

    def is_connected() -> bool:
        monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
        Client().generic(method, path)
        return connections["default"].connection is not None

    assert not executor.submit(is_connected).result()


def test_one_probe_answers_all_who_ask_whether_the_site_is_ready(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed, release = threading.Semaphore(0), threading.Event()
    probes: list[None] = []

    def answers() -> bool:
        probes.append(None)
        probed.release()
        return release.wait(MAX_SECONDS)

    def ask() -> int:
        asking.release()
        return Client().get("/readyz").status_code

    monkeypatch.setattr(sender, "answers", answers)
    asking = threading.Semaphore(0)
    asked = [executor.submit(ask)]
    assert probed.acquire(timeout=MAX_SECONDS)
    asked += [executor.submit(ask) for _ in range(30)]
    for _ in range(31):
        assert asking.acquire(timeout=MAX_SECONDS)
    release.set()

    assert {answer.result() for answer in asked} == {200}
    # One for the first, one for those who asked meanwhile; few may have asked later still.
    assert len(probes) < 10
