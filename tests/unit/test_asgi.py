"""The application of a site's asgi.py, as in the quickstart."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.test import Client

from notifications.asgi import with_notifications
from notifications.hub.hub import get_hub, is_draining, stop_hub
from notifications.testing import TIMEOUT_SECONDS


def test_while_debugging_the_static_files_are_served(settings: Any) -> None:
    settings.DEBUG = True

    pages = with_notifications(get_asgi_application()).application_mapping["http"]

    assert isinstance(pages, ASGIStaticFilesHandler)


def test_in_production_the_static_files_are_left_to_the_web_server(settings: Any) -> None:
    settings.DEBUG = False
    django_application = get_asgi_application()

    mapping = with_notifications(django_application).application_mapping

    assert mapping["http"] is django_application
    assert "websocket" in mapping


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
