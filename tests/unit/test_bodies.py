"""Which request a body belongs to, where the server is not Daphne as it was tested."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from notifications.servers.daphne_bodies import Body, body_receiver


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(event: dict[str, Any]) -> None: ...


async def test_a_body_is_received_in_place_of_daphnes_empty_one() -> None:
    body = Body()
    body.write(b"content")

    receives = body_receiver(receive, partial(send, SimpleNamespace(content=body)))

    expected = {"type": "http.request", "body": b"content", "more_body": False}
    assert await receives() == expected


@pytest.mark.parametrize(
    "other",
    [send, partial(send), partial(send, None), partial(send, SimpleNamespace(content=b""))],
    ids=["no partial", "no arguments", "no request", "no body of ours"],
)
def test_with_any_other_send_the_servers_receive_stays(other: Any) -> None:
    assert body_receiver(receive, other) is receive
