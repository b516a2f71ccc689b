"""The application of a site's asgi.py, as in the quickstart."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.test import Client
from django.urls import path

from notifications.asgi import with_notifications
from notifications.hub.hub import get_hub, is_draining, stop_hub
from notifications.testing import TIMEOUT_SECONDS, log_in
from notify_site.urls import urlpatterns as site_urlpatterns


async def get(application: Any, path: str, **scope: Any) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers and the body of a page."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
        **scope,
    }
    request = ApplicationCommunicator(application, scope)
    await request.send_input({"type": "http.request", "body": b""})
    start = await request.receive_output(TIMEOUT_SECONDS)
    body = b""
    more = True
    while more:
        event = await request.receive_output(TIMEOUT_SECONDS)
        body, more = body + event.get("body", b""), event.get("more_body", False)
    await request.wait(TIMEOUT_SECONDS)
    headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, body


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("static_url", "path", "root_path"),
    [
        ("/static/", "/static/notifications/index.js", ""),
        ("/static/", "/static/notifications/index.js", "/shop"),
        ("/shop/static/", "/shop/static/notifications/index.js", "/shop"),
        ("/shop/static/", "/static/notifications/index.js", "/shop"),  # the proxy removed it
    ],
)
async def test_while_debugging_the_static_files_are_served(
    settings: Any, static_url: str, path: str, root_path: str
) -> None:
    settings.DEBUG = True
    settings.STATIC_URL = static_url
    application = with_notifications(get_asgi_application())

    status, headers, body = await get(application, path, root_path=root_path)

    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/javascript")
    assert b"import" in body


@pytest.mark.django_db(transaction=True)
async def test_in_production_the_static_files_are_left_to_the_web_server(settings: Any) -> None:
    settings.DEBUG = False

    application = with_notifications(get_asgi_application())

    assert (await get(application, "/static/notifications/index.js"))[0] == 404


# --- Caches


def page(request: HttpRequest) -> HttpResponse:
    """A page of a site, with the headers that its query names."""
    return HttpResponse(
        Template("{% load notifications %}{% notifications_config %}").render(
            RequestContext(request)
        ),
        status=int(request.GET.get("status", 200)),
        headers={name: value for name, value in request.GET.items() if name != "status"},
    )


urlpatterns = [path("page/", page), *site_urlpatterns]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("query", "name", "expected"),
    [
        ("", "alice", "private"),
        ("status=404", "alice", "private"),
        ("Cache-Control=max-age%3D60", "alice", "max-age=60"),
        ("CACHE-CONTROL=no-store", "alice", "no-store"),
        # Nobody's account is on it.
        ("", "", None),
    ],
)
async def test_a_page_with_our_configuration_is_private_unless_the_site_sets_something(
    settings: Any, alice: Any, query: str, name: str, expected: str | None
) -> None:
    settings.ROOT_URLCONF = __name__
    headers = [(b"host", b"testserver")]
    if name:
        headers.append((b"cookie", f"sessionid={await sync_to_async(log_in)(alice)}".encode()))
    application = with_notifications(get_asgi_application())

    _, answer, body = await get(application, "/page/", query_string=query.encode(), headers=headers)

    assert (b'id="notifications-config"' in body) == bool(name)
    assert answer.get("cache-control") == expected


@pytest.mark.django_db(transaction=True)
async def test_middleware_that_copies_the_scope_leaves_the_page_private(
    settings: Any, alice: Any
) -> None:
    settings.ROOT_URLCONF = __name__
    cookie = f"sessionid={await sync_to_async(log_in)(alice)}".encode()
    django = get_asgi_application()

    async def copying(scope: Any, receive: Any, send: Any) -> None:
        await django(dict(scope), receive, send)

    application = with_notifications(copying)

    headers = [(b"host", b"testserver"), (b"cookie", cookie)]
    _, answer, _ = await get(application, "/page/", headers=headers)

    assert answer["cache-control"] == "private"


@pytest.mark.django_db(transaction=True)
async def test_the_lifespan_of_the_server_starts_and_stops_the_hub() -> None:
    application = with_notifications(get_asgi_application())
    server = ApplicationCommunicator(application, {"type": "lifespan"})

    await server.send_input({"type": "lifespan.startup"})
    assert await server.receive_output(TIMEOUT_SECONDS) == {"type": "lifespan.startup.complete"}
    hub = get_hub()
    assert not is_draining()

    await server.send_input({"type": "lifespan.shutdown"})
    assert await server.receive_output(TIMEOUT_SECONDS) == {"type": "lifespan.shutdown.complete"}
    assert hub.drain.has_begun
    assert get_hub() is not hub
    await stop_hub()


@pytest.mark.django_db
def test_a_site_without_a_base_template_has_an_inbox_page(
    client: Client, alice: Any, settings: Any
) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]
    client.force_login(alice)

    page = client.get("/notifications/").content.decode()

    assert "<h1" in page
    assert "<notifications-bell>" in page
