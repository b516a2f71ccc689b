"""What goes over the channel layer: messages, each for a group, and which entries share one."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from notifications import protocol

ENTRIES_PER_MESSAGE: Final = 500
MAX_ENVELOPE_SIZE: Final = 256 * 1024  # characters of frames, after which a message is full
# Up to so many accounts are reached by their own groups, more through all hubs.
MAX_OWN_GROUPS: Final = 20

Envelope = dict[str, Any]
Addressed = tuple[str, Envelope]  # a group and the message for it
Entry = Mapping[str, Any]


def for_hubs(message_type: str, **fields: Any) -> Addressed:
    """Return a message for all hubs; its id lets them forget a duplicate."""
    return protocol.HUBS_GROUP, {"type": message_type, "id": uuid.uuid4().hex, **fields}


def for_accounts(
    message_type: str, entries: Sequence[Entry], through_hubs: bool = False
) -> list[Addressed]:
    """
    Return messages that bring each entry to the hubs that have sockets of its account.

    through_hubs: by the group of all hubs, even if there are few accounts.
    """
    by_account: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_account[entry["account"]].append(entry)
    if through_hubs or len(by_account) > MAX_OWN_GROUPS:
        batches = [(protocol.HUBS_GROUP, batch) for batch in _batches(entries)]
    else:
        batches = [
            (protocol.account_group(account), batch)
            for account, own in by_account.items()
            for batch in _batches(own)
        ]
    return [
        (group, {"type": message_type, "id": uuid.uuid4().hex, "entries": batch})
        for group, batch in batches
    ]


def merged(messages: Iterable[Addressed]) -> list[Addressed]:
    """Return the same in fewer messages, and in the same order for every account."""
    fewer: list[Addressed] = []
    for message_type, run in groupby(messages, _type_with_entries):
        if message_type is None:
            fewer += run
            continue
        alike = list(run)
        entries = [entry for _, message in alike for entry in message["entries"]]
        through_hubs = any(group == protocol.HUBS_GROUP for group, _ in alike)
        fewer += for_accounts(message_type, entries, through_hubs)
    return fewer


def _type_with_entries(addressed: Addressed) -> str | None:
    _, message = addressed
    return message["type"] if "entries" in message else None


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.get("text", ""))
        if len(batch) == ENTRIES_PER_MESSAGE or size > MAX_ENVELOPE_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
