"""Which groups an envelope goes to, and which entries share one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from notifications.channel_layer.addressing import (
    MAX_ENTRIES,
    MAX_OWN_GROUPS,
    Addressed,
    for_accounts,
    for_hubs,
    merged,
)
from notifications.channel_layer.envelopes import (
    AccountFrame,
    AccountFrames,
    Batch,
    ChangedAccount,
    ChangedAccounts,
    EndSessions,
)
from notifications.protocol import CloseCode


def entries(*accounts: Any) -> list[AccountFrame]:
    return [AccountFrame(str(account), str(n)) for n, account in enumerate(accounts)]


def groups(messages: list[Addressed]) -> list[str]:
    return [group for group, _ in messages]


def entries_of(addressed: Addressed) -> Sequence[Any]:
    content = addressed[1]
    assert isinstance(content, Batch)
    return content.entries


def test_few_accounts_are_reached_by_their_groups_and_many_through_all_hubs() -> None:
    few, many = range(MAX_OWN_GROUPS), range(MAX_OWN_GROUPS + 1)

    assert groups(for_accounts(AccountFrames, entries(*few))) == [f"account_{n}" for n in few]
    assert groups(for_accounts(AccountFrames, entries(*many))) == ["notifications.hubs"]
    assert groups(for_accounts(AccountFrames, entries(1), through_hubs=True)) == [
        "notifications.hubs"
    ]


def test_the_entries_of_an_envelope_are_limited() -> None:
    sent = for_accounts(AccountFrames, entries(*range(MAX_ENTRIES + 1)))

    assert [len(entries_of(message)) for message in sent] == [MAX_ENTRIES, 1]


def test_messages_for_one_account_are_merged_in_their_order() -> None:
    all_entries = entries(1, 2, 1, 1)
    one_each = [
        message for entry in all_entries for message in for_accounts(AccountFrames, [entry])
    ]

    together = merged(one_each)

    assert groups(together) == ["account_1", "account_2"]
    assert [entry.text for entry in entries_of(together[0])] == ["0", "2", "3"]


def test_messages_for_many_accounts_are_merged_into_one_for_all_hubs() -> None:
    all_entries = entries(*range(100))
    one_each = [
        message for entry in all_entries for message in for_accounts(AccountFrames, [entry])
    ]

    (together,) = merged(one_each)

    group, content = together
    assert (group, type(content)) == ("notifications.hubs", AccountFrames)
    assert entries_of(together) == all_entries


def test_only_adjacent_messages_of_one_type_are_merged() -> None:
    end = for_hubs(EndSessions(["a"], CloseCode.NOT_LOGGED_IN))
    hello = for_accounts(AccountFrames, entries(1))
    changed = for_accounts(ChangedAccounts, [ChangedAccount("1")])
    messages = [*hello, *hello, end, *hello, *changed]

    assert [type(content) for _, content in merged(messages)] == [
        AccountFrames,
        EndSessions,
        AccountFrames,
        ChangedAccounts,
    ]
    assert merged([end]) == [end]


def test_merged_messages_for_all_hubs_stay_for_all_hubs() -> None:
    in_memory = for_accounts(AccountFrames, entries(1), through_hubs=True)

    assert groups(merged([*in_memory, *in_memory])) == ["notifications.hubs"]
