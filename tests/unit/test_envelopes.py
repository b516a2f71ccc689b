"""What goes over the channel layer: for whom, and what goes together."""

from __future__ import annotations

from typing import Any

from notifications.channel_layer.envelopes import (
    ENTRIES_PER_MESSAGE,
    MAX_OWN_GROUPS,
    for_accounts,
    for_hubs,
    merged,
)


def entries(*accounts: Any) -> list[dict[str, Any]]:
    return [{"account": str(account), "text": str(n)} for n, account in enumerate(accounts)]


def groups(messages: list[tuple[str, Any]]) -> list[str]:
    return [group for group, _ in messages]


def test_few_accounts_are_reached_by_their_groups_and_many_through_all_hubs() -> None:
    few, many = range(MAX_OWN_GROUPS), range(MAX_OWN_GROUPS + 1)

    assert groups(for_accounts("hello", entries(*few))) == [f"account_{n}" for n in few]
    assert groups(for_accounts("hello", entries(*many))) == ["notifications.hubs"]
    assert groups(for_accounts("hello", entries(1), through_hubs=True)) == ["notifications.hubs"]


def test_a_message_has_a_limit() -> None:
    sent = for_accounts("hello", entries(*range(ENTRIES_PER_MESSAGE + 1)))

    assert [len(message["entries"]) for _, message in sent] == [ENTRIES_PER_MESSAGE, 1]


def test_messages_for_one_account_become_one_in_their_order() -> None:
    all_entries = entries(1, 2, 1, 1)
    one_each = [message for entry in all_entries for message in for_accounts("hello", [entry])]

    together = merged(one_each)

    assert groups(together) == ["account_1", "account_2"]
    assert [entry["text"] for entry in together[0][1]["entries"]] == ["0", "2", "3"]


def test_messages_for_many_accounts_become_one_for_all_hubs() -> None:
    all_entries = entries(*range(100))
    one_each = [message for entry in all_entries for message in for_accounts("hello", [entry])]

    ((group, message),) = merged(one_each)

    assert (group, message["type"], message["entries"]) == (
        "notifications.hubs",
        "hello",
        all_entries,
    )
    assert message["id"] not in {other["id"] for _, other in one_each}


def test_only_neighbours_of_one_type_are_put_together() -> None:
    broadcast = for_hubs("broadcast", seq=1)
    hello = for_accounts("hello", entries(1))
    messages = [*hello, broadcast, *hello, *for_accounts("frames", entries(1))]

    assert [message["type"] for _, message in merged(messages)] == [
        "hello",
        "broadcast",
        "hello",
        "frames",
    ]
    assert merged([broadcast]) == [broadcast]


def test_what_was_for_all_hubs_stays_so() -> None:
    in_memory = for_accounts("hello", entries(1), through_hubs=True)

    assert groups(merged([*in_memory, *in_memory])) == ["notifications.hubs"]
