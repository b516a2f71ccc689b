"""The second client's inbox, where docs/protocol.md's test vectors do not reach."""

from __future__ import annotations

from typing import Any

from harness.second_client.inbox import Inbox


def page(next: str | None, *items: dict[str, Any]) -> dict[str, Any]:
    position = {"seq": 2, "broadcast_seq": 0, "epoch": 1, "scope": "s"}
    return {**position, "unread": 2, "unread_broadcasts": 0, "items": list(items), "next": next}


def item(number: int) -> dict[str, Any]:
    return {"id": f"n{number}", "number": number, "seq": number, "state": "unread"}


def test_a_list_whose_loading_ended_between_two_pages_is_loaded_again() -> None:
    inbox = Inbox()
    generation = inbox.begin_list()
    assert inbox.add_page(page("n2", item(2)), generation, is_first=True)
    assert inbox.needs_list

    generation = inbox.begin_list()
    assert inbox.add_page(page("n2", item(2)), generation, is_first=True)
    assert inbox.add_page(page(None, item(1)), inbox.generation, is_first=False)

    assert not inbox.needs_list
    assert inbox.items == {"n1": "unread", "n2": "unread"}
