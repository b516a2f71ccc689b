"""Sites below a path of their host, and clients that send a root path of their own."""

from __future__ import annotations

import http.client
import json
import re
from contextlib import closing

import pytest

from harness.demo_data import make_demo_data
from harness.frames import upgrade_request
from harness.nginx import nginx
from harness.raw_client import RawClient, handshake_request
from harness.services import free_port, site_server
from harness.visitor import TIMEOUT_SECONDS
from tests.unit.test_authentication import UNUSUAL_ORIGINS

ROOT_PATH = "/shop"
# The environment of the server, and its options.
WAYS = {
    "FORCE_SCRIPT_NAME": ({"FORCE_SCRIPT_NAME": ROOT_PATH}, ""),
    "NOTIFICATIONS_ROOT_PATH": ({"NOTIFICATIONS_ROOT_PATH": ROOT_PATH}, ""),
    "--root-path": ({}, f"--root-path {ROOT_PATH}"),
    "both": ({"FORCE_SCRIPT_NAME": ROOT_PATH}, f"--root-path {ROOT_PATH}"),
}
SITES = [
    *(("daphne", way) for way in WAYS),
    ("uvicorn", "--root-path"),
    ("plain daphne", "NOTIFICATIONS_ROOT_PATH"),
]
MORE_SITES = [
    *(("uvicorn", way) for way in WAYS if way != "--root-path"),
    *(("plain daphne", way) for way in ("FORCE_SCRIPT_NAME", "both")),
]


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    env = {
        "DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('site')}/site.sqlite3",
        "DJANGO_SETTINGS_MODULE": "tests.cluster.below_path_settings",
    }
    make_demo_data(env)
    return env


def answer(port, path, cookie="", headers=()):
    """Return the status, headers and body of a page; no redirect is followed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    connection.putrequest("GET", path)
    for name, value in [("Cookie", cookie), *headers]:
        connection.putheader(name, value)
    connection.endheaders()
    with closing(connection):
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()


def configuration(html):
    found = re.search(r'id="notifications-config"[^>]*>(.*?)</script>', html)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize(
    ("server", "way"),
    [
        *SITES,
        *(pytest.param(*site, marks=pytest.mark.verify(8)) for site in MORE_SITES),
    ],
)
def test_pages_and_connections_work_below_a_path_that_the_proxy_keeps_or_removes(
    env, new_visitor, server, way
):
    more_env, options = WAYS[way]
    with site_server(free_port(), {**env, **more_env}, server, options=options) as site:
        for keeps in (True, False):
            with nginx([site.port], ROOT_PATH, keeps) as proxy:
                alice = new_visitor(proxy.url, "alice")
                html = alice.get(f"{proxy.url}/orders/1/")
                urls = configuration(html)["urls"]
                assert urls == {
                    "changes": "/shop/notifications/changes/",
                    "inbox": "/shop/notifications/",
                    "items": "/shop/notifications/items/",
                    "mark": "/shop/notifications/mark/",
                    "socket": "/shop/ws/notifications/",
                }
                assert (
                    alice.get_json(f"http://127.0.0.1:{proxy.port}{urls['items']}")["items"] == []
                )
                (script,) = re.findall(r'src="([^"]*/index\.js)"', html)
                assert "import" in alice.get(f"http://127.0.0.1:{proxy.port}{script}")

                own = {
                    "Origin": f"http://127.0.0.1:{proxy.port}",
                    "Cookie": alice.cookie_header,
                }
                with closing(RawClient(proxy.port)) as tab:
                    assert tab.do_handshake(upgrade_request(proxy.port, urls["socket"], own)) == 101
                    assert tab.receive_frames("register")[0]

                # Redirects have the root path as well.
                status, headers, _ = answer(proxy.port, "/shop/orders/1")
                assert (status, headers["Location"]) == (301, "/shop/orders/1/")
                status, headers, _ = answer(proxy.port, "/shop/orders/1/")
                assert (status, headers["Location"]) == (302, "/shop/login/?next=/shop/orders/1/")
                assert alice.get(f"{proxy.url}/login/?next=/shop/orders/1/")
        assert "Traceback" not in site.output()


def test_plain_daphne_has_no_root_path_but_that_of_the_settings(env):
    with site_server(free_port(), env, "plain daphne", options="--root-path /shop") as site:
        assert answer(site.port, "/login/")[0] == 200
        assert answer(site.port, "/shop/login/")[0] == 404


# --- Clients that say where the site is

HOSTILE = ["https://evil.example", "//evil.example", "/evil", "/..", "javascript:alert(1)//"]
HOSTILE += ["//evil.example/%0d%0aX-Evil: 1", "/%ff%00", "/orders", "/notifications", "/ws", "evil"]
NOT_ASCII = "/evil\xff"
OTHER_NAMES = ["Forwarded", "Root-Path", "Script-Name", "X-Forwarded-Path", "X-Forwarded-Prefix"]
OTHER_NAMES += ["X-Original-URL", "X-Rewrite-URL", "X-Script-Name"]
HEADERS = [
    *(("Daphne-Root-Path", value) for value in HOSTILE),
    *((name, value) for name in OTHER_NAMES for value in ("https://evil.example", "/evil")),
]
PATHS = ["/", "/login/", "/orders/1", "/notifications/", "/admin/", "/evil/admin/login/"]


@pytest.fixture(scope="module", params=["daphne", "plain daphne", "uvicorn"])
def server(request, env):
    options = "" if request.param == "uvicorn" else "--proxy-headers"
    with site_server(free_port(), env, request.param, options=options) as server:
        yield server
        output = server.output()
    assert "Traceback" not in output


@pytest.fixture
def alice(server, new_visitor):
    return new_visitor(server.url, "alice")


def shown(port, path, cookie, headers=()):
    """Return what a visitor gets: the status, the headers that name places, the body."""
    status, found, body = answer(port, path, cookie, headers)
    kept = [found[name] for name in ("Location", "Cache-Control", "Vary", "Content-Type")]
    # Tokens are new on each page; the page of an error lists the headers while debugging.
    return status, kept, re.sub(r"\w{64}", "", body) if status == 200 else ""


@pytest.mark.parametrize("name", [None, "alice"])
def test_no_header_of_a_client_changes_a_page(server, new_visitor, name):
    cookie = new_visitor(server.url, name).cookie_header if name else ""
    for path in PATHS:
        expected = shown(server.port, path, cookie)
        for header in HEADERS:
            assert shown(server.port, path, cookie, [header]) == expected, (path, header)


def test_a_root_path_that_is_not_ascii_causes_no_traceback(server, request):
    status = answer(server.port, "/login/", headers=[("Daphne-Root-Path", NOT_ASCII)])[0]

    assert status == (500 if "plain daphne" in request.node.name else 200)  # Daphne's own answer


def test_no_root_path_of_a_client_lets_a_foreign_page_connect(server, alice):
    def status(origin, root_path, path="/ws/notifications/"):
        headers = {"Cookie": alice.cookie_header, "Daphne-Root-Path": root_path}
        if origin is not None:
            headers["Origin"] = origin
        with closing(RawClient(server.port)) as client:
            return client.do_handshake(upgrade_request(server.port, path, headers))

    own = f"http://127.0.0.1:{server.port}"
    foreign = [*UNUSUAL_ORIGINS, "https://evil.example", own.replace("http", "https"), f"{own}/"]
    for root_path in [*HOSTILE, NOT_ASCII]:
        assert status(own, root_path) == 101, root_path
        assert status(own, root_path, "/ws/ws/notifications/") == 403, root_path
        assert status(own, root_path, "/evil/ws/notifications/") == 403, root_path
        assert {status(origin, root_path) for origin in foreign} <= {400, 403}, root_path


# --- Clients that say who they are

# Not one of them is an address, as "unknown" is not.
NO_ADDRESSES = [
    "unknown",
    'INJECTED - - "GET / 200"',
    "6.6.6.6\x1b[31mINJECTED",
    "1.2.3.4 INJECTED",
]
NO_ADDRESSES += ["fe80::1%INJECTED", "INJECTED, 203.0.113.8", "999.1.1.1", "\xff\xfe", "[::1", ""]
FORWARDED_PORTS = ["INJECTED", "\xff", "9" * 5000, "-1"]
SCHEMES = ["https://evil.example", "INJECTED", "\xff", "https, INJECTED", "javascript"]


def test_only_addresses_are_logged_as_such(server, alice, request):
    if "plain daphne" in request.node.name:
        pytest.skip("it logs what the proxy sends")
    for name, values in {
        "X-Forwarded-For": NO_ADDRESSES,
        "X-Forwarded-Port": FORWARDED_PORTS,
        "X-Forwarded-Proto": SCHEMES,
    }.items():
        for value in values:
            headers = [(name, value)]
            if name != "X-Forwarded-For":
                headers.append(("X-Forwarded-For", "203.0.113.7"))
            status, found, _ = answer(server.port, "/login/", headers=headers)
            assert status in {200, 400}, value
            if "\x1b" in value and "uvicorn" in request.node.name:
                continue  # with h11 instead of httptools, it never answers such a handshake
            text = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")
            with closing(RawClient(server.port)) as client:
                handshake = handshake_request(server.port, alice.cookie_header, headers=text)
                assert client.do_handshake(handshake) in {101, 400, 403}, value

    answer(server.port, "/login/", headers=[("X-Forwarded-For", "2001:db8::9, 203.0.113.8")])
    output = server.output()
    assert "203.0.113.7:0" in output
    assert ("2001:db8::9:0" in output) or ("203.0.113.8:0" in output)  # uvicorn takes the last
    assert "INJECTED" not in output and "\x1b" not in output and "9" * 100 not in output
