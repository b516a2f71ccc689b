"""The demo answers whatever fails with a page of its own, which has all security headers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import HttpRequest

from notifications.testing import TIMEOUT_SECONDS
from notify_site import errors, guard
from notify_site.handler import Handler
from notify_site.start import is_loopback, refuse_unsafe_start

HEADERS = {
    *(b"content-security-policy", b"x-frame-options", b"x-content-type-options"),
    *(b"referrer-policy", b"cross-origin-opener-policy"),
}
FORM = b"application/x-www-form-urlencoded"
PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'


class Answer:
    def __init__(self, start: Any, body: bytes) -> None:
        self.status: int = start["status"]
        self.headers = {name.lower(): value for name, value in start["headers"]}
        self.text = body.decode()


async def ask(application: Any, path: str = "/", body: bytes = b"", **options: Any) -> Answer:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
        "client": ["127.0.0.1", 1],
        "server": ["127.0.0.1", 80],
        **options,
    }
    untyped: Any = ApplicationCommunicator
    request = untyped(guard.guarded(application), scope)
    await request.send_input({"type": "http.request", "body": body})
    start = await request.receive_output(TIMEOUT_SECONDS)
    content = (await request.receive_output(TIMEOUT_SECONDS))["body"]
    await request.wait(TIMEOUT_SECONDS)
    return Answer(start, content)


async def post(path: str, content_type: bytes, body: bytes = b"a=b") -> Answer:
    headers = [
        (b"host", b"testserver"),
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
    ]
    return await ask(Handler(), path, body, method="POST", headers=headers)


@pytest.fixture(autouse=True)
def new_headers() -> None:
    guard._security_headers.cache_clear()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the demo logs, as its console shows it."""
    handler = logging.getLogger("django").handlers[0]
    return [
        handler.format(record)
        for record in caplog.records
        if record.levelno >= logging.WARNING and handler.filter(record)
    ]


@pytest.fixture
def caught(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(logging.getLogger("django"), "propagate", True)
    return caplog


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/login/", "/language/", "/admin/login/", "/orders/1/pay/"])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        *((FORM + b"; charset=" + name, b"a=b") for name in (b"utf-16", b"hex", b"\xff")),
        *(
            (b"multipart/form-data; boundary=x; charset=" + name, PART)
            for name in (b"hex", b"rot13", b"undefined", b"idna", b"utf-16")
        ),
        (b"multipart/form-data", PART),
        (b"multipart/form-data; boundary=\xff", PART),
        (FORM + b"; charset=a\x00b", b"a=b"),
        (FORM + b"; charset*=undefined''%ff", b"a=b"),
        (FORM + b"; charset*=no-such-charset''utf-8", b"a=b"),
        (FORM, "&".join(f"a{n}=1" for n in range(1001)).encode()),
        (FORM, b"a=" + b"x" * 3_000_000),
    ],
)
async def test_a_form_that_cannot_be_read_is_a_bad_request(
    path: str, content_type: bytes, body: bytes, caught: Any
) -> None:
    answer = await post(path, content_type, body)

    assert answer.status in (400, 403), answer.text
    assert "<h1>" in answer.text and "Notify Site" in answer.text
    assert set(answer.headers) >= HEADERS
    assert b"no-store" in answer.headers[b"cache-control"]
    (line,) = lines(caught)
    assert "\n" not in line


@pytest.mark.parametrize("content_type", [FORM + b"; charset=utf-16", b"multipart/form-data"])
async def test_while_debugging_such_a_form_is_a_bad_request_as_well(
    settings: Any, content_type: bytes, caught: Any
) -> None:
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = ["testserver"]

    answer = await post("/login/", content_type)

    assert answer.status == 400
    (line,) = lines(caught)
    assert "Unreadable form" in line and "\n" not in line


@pytest.mark.parametrize(
    "options",
    [
        {"query_string": b"\xff"},
        {"headers": [(b"host", b"testserver"), (b"cookie", b'sessionid="\\000abcdefgh"')]},
        {  # Django reads the query while it looks at Content-Type
            "query_string": b"a=1&" * 1500,
            "headers": [(b"host", b"testserver"), (b"content-type", b"text/plain; charset=utf-8")],
        },
    ],
)
async def test_a_request_that_cannot_be_read_is_a_bad_request(options: Any, caught: Any) -> None:
    answer = await ask(Handler(), **options)

    assert answer.status == 400
    assert "<h1>Bad request</h1>" in answer.text
    assert set(answer.headers) >= HEADERS
    (line,) = lines(caught)
    assert "\n" not in line


def failing_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[..., Any]:
    def middleware(request: HttpRequest) -> Any:
        raise RuntimeError("in a middleware")

    return middleware


@pytest.mark.parametrize("position", [0, 4, -1])
async def test_a_failing_middleware_is_answered_with_all_headers(
    settings: Any, position: int, caught: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE]
    settings.MIDDLEWARE.insert(position, f"{__name__}.failing_middleware")

    answer = await ask(Handler())

    assert answer.status == 500
    assert "<h1>Something went wrong</h1>" in answer.text
    assert set(answer.headers) >= HEADERS
    assert "in a middleware" in "".join(lines(caught))  # operators need the traceback


async def test_whatever_leaves_django_is_answered_and_logged_once(caught: Any) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("outside of Django")

    answer = await ask(failing, "/a\nb")

    assert answer.status == 500
    assert "<h1>Something went wrong</h1>" in answer.text
    assert set(answer.headers) >= HEADERS
    (line,) = lines(caught)
    assert r"Internal Server Error: '/a\nb'" in line and "outside of Django" in line


@pytest.mark.parametrize("template", ["400", "403", "403_csrf", "404", "500"])
def test_a_template_that_fails_leaves_a_plain_page(template: str, settings: Any) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]

    page = errors._page(f"{template}.html", 404)

    assert page.status_code == 404
    assert "<h1>Not Found (404)</h1>" in page.content.decode()
    assert "no-store" in page["Cache-Control"]


def test_hsts_is_for_https_only(settings: Any) -> None:
    settings.SECURE_HSTS_SECONDS = 60
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

    for is_https in (True, False):
        names = [name for name, _ in guard._security_headers(is_https)]
        assert (b"strict-transport-security" in names) == is_https


@pytest.mark.parametrize(
    ("server", "is_answered"),
    [
        (["127.0.0.1", 80], True),
        (["::1", 80], True),
        (["::ffff:127.0.0.1", 80], True),
        (["/run/site.socket", None], True),
        (None, True),
        (["198.18.0.1", 80], False),
        (["::ffff:198.18.0.1", 80], False),
        (["fe80::1", 80], False),
    ],
)
async def test_while_debugging_only_this_machine_is_answered(
    settings: Any, server: Any, is_answered: bool
) -> None:
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = ["testserver"]

    answer = await ask(Handler(), "/nowhere", server=server)

    assert answer.status == (404 if is_answered else 403)
    assert ("set DJANGO_DEBUG=0" in answer.text) == (not is_answered)


async def test_while_debugging_no_socket_of_another_machine_is_accepted(settings: Any) -> None:
    settings.DEBUG = True
    untyped: Any = ApplicationCommunicator
    scope = {"type": "websocket", "path": "/", "server": ["198.18.0.1", 80]}
    socket = untyped(guard.guarded(None), scope)

    await socket.send_input({"type": "websocket.connect"})

    assert await socket.receive_output(TIMEOUT_SECONDS) == {"type": "websocket.close"}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("127.0.0.1", "127.0.0.9", "::1", "localhost")),
        *((host, False) for host in ("", "0.0.0.0", "::", "198.18.0.1", "example.com")),
    ],
)
def test_loopback_addresses(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["--host", "LocalHost"],
        ["-b", "127.1"],
        ["--bind=127.1:8000"],
        ["--bind", "[0:0:0:0:0:0:0:1]:8000"],
        ["-b", "unix:/run/site.socket"],
        ["--endpoint", r"tcp6:8000:interface=\:\:1"],
        ["-e", "tcp:interface=localhost:port=8000"],
        ["-e", "unix:/run/site.socket"],
        ["-e", "NAME=value"],  # gunicorn's: a variable of the environment
        [],
    ],
)
def test_any_spelling_of_an_address_of_this_machine_is_allowed(
    settings: Any, arguments: list[str]
) -> None:
    settings.DEBUG = True

    refuse_unsafe_start(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["-b", host] for host in ("0", "0.0", "::", "[::]:80", "198.18.0.1:80", "")),
        *(["--host", "nowhere.invalid"], ["-b", "127.0.0.1", "-b", "0.0.0.0"]),
        *(
            ["-e", endpoint]
            for endpoint in ("tcp:80", "ssl:443:interface=0", "tcp6:80:interface=::")
        ),
    ],
)
def test_any_spelling_of_another_address_is_refused(
    settings: Any, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    settings.DEBUG = True

    with pytest.raises(SystemExit) as exit:
        refuse_unsafe_start(arguments)

    assert exit.value.code == 3  # gunicorn starts no other worker then
    assert capsys.readouterr().err.startswith("Not listening on ")
