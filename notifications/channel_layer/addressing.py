"""Which groups envelopes are sent to, and which entries share an envelope."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final, TypeVar

from notifications import protocol

from .envelopes import Batch, Content

MAX_ENTRIES: Final = 500  # in one envelope
MAX_ENVELOPE_SIZE: Final = 256 * 1024  # characters of frames; the last entry may exceed it
MAX_OWN_GROUPS: Final = 20  # accounts; more of them are reached through the group of all hubs

Addressed = tuple[str, Content]  # a group and the content of an envelope for it
BatchT = TypeVar("BatchT", bound=Batch[Any])


def for_hubs(content: Content) -> Addressed:
    """Return the envelope for all hubs."""
    return protocol.HUBS_GROUP, content


def for_accounts(
    kind: type[BatchT], entries: Sequence[Any], through_hubs: bool = False
) -> list[Addressed]:
    """
    Return envelopes that carry each entry to the hubs with connections of its account.

    through_hubs: use the group of all hubs, even for few accounts.
    """
    by_account: defaultdict[str, list[Any]] = defaultdict(list)
    for entry in entries:
        by_account[entry.account].append(entry)
    if through_hubs or len(by_account) > MAX_OWN_GROUPS:
        batches = [(protocol.HUBS_GROUP, batch) for batch in _batches(entries)]
    else:
        batches = [
            (protocol.account_group(account), batch)
            for account, own in by_account.items()
            for batch in _batches(own)
        ]
    return [(group, kind(batch)) for group, batch in batches]


def merged(envelopes: Iterable[Addressed]) -> list[Addressed]:
    """Return the same entries in fewer envelopes, each account's in the same order."""
    fewer: list[Addressed] = []
    for kind, run in groupby(envelopes, _kind_of_batch):
        if kind is None:
            fewer += run
            continue
        alike = list(run)
        contents: list[Any] = [content for _, content in alike]
        entries = [entry for content in contents for entry in content.entries]
        through_hubs = any(group == protocol.HUBS_GROUP for group, _ in alike)
        fewer += for_accounts(kind, entries, through_hubs)
    return fewer


def _kind_of_batch(addressed: Addressed) -> type[Batch[Any]] | None:
    content = addressed[1]
    return type(content) if isinstance(content, Batch) else None


def _batches(entries: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.size
        if len(batch) == MAX_ENTRIES or size > MAX_ENVELOPE_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
