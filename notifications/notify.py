"""
The public functions: `notify_accounts()`, `broadcast()` and `retract()`.

They check their arguments and write rows in the caller's transaction. Numbering
and publishing follow after its commit.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import router, transaction
from django.db.models import QuerySet
from django.utils.timezone import is_naive

from . import protocol
from .accounts import account_keys, require_known
from .audiences import audience_key
from .db import times
from .lifecycle import lives, moving, numbering, publishing, retraction
from .models import Broadcast, Notification
from .texts import is_blank, resolved

MAX_KEY_LENGTH: Final = 200  # characters of an idempotency or replace key
ROWS_PER_STATEMENT: Final = 10_000


@dataclass(frozen=True, slots=True)
class NotifyResult:
    """How many notifications were created and skipped (by `idempotency_key`), and the new ids."""

    created: int = 0
    skipped: int = 0
    ids: list[int] = field(default_factory=list)


def notify_accounts(
    accounts: Any,
    type: str,
    body: str,
    *,
    meta_data: Any = "",
    url: str = "",
    level: str = "info",
    idempotency_key: str | None = None,
    replace_key: str | None = None,
    expires_at: datetime | None = None,
    persist: bool = True,
) -> NotifyResult:
    """
    Put a notification in each account's inbox and show it in the account's open tabs.

    The rows are part of the caller's transaction: if it rolls back, nobody is
    notified. Open tabs are updated after the commit. An outage of the channel layer
    delays them, and never fails or delays the caller.

    accounts: an account, a primary key, or an iterable or queryset of them;
        each account is notified once.
    type: lets clients tell messages apart: `[a-z][a-z0-9_.]*`, at most 64 characters.
    body: at most 5,000 characters, with some that can be seen. It may be lazy, as any other text
        here may, also inside meta_data; it is resolved now, in the language that is active.
    meta_data: any JSON value of at most 16 KiB, with at most 32 levels of lists and objects.
    url: opened by a click on the notification: an http(s) URL or a path on the site.
    level: "info", "success", "warning" or "error".
    idempotency_key: accounts that have a notification with this key are skipped.
    replace_key: replaces the account's unread notification with the same key.
    expires_at: an aware datetime, at which the notification is removed from all inboxes. With
        `USE_TZ = False` a naive one is in TIME_ZONE.
    persist: False updates open tabs only, at most once, and stores nothing.

    Raises ValueError, which names the argument and the allowed values, before
    anything is written; RuntimeError inside a running event loop.
    """
    _require_no_running_loop("notify_accounts", "await anotify_accounts(...)")
    type, body, url, level, meta_data = _resolved(type, body, url, level, meta_data)
    idempotency_key, replace_key = _resolved(idempotency_key, replace_key)
    _check_message(type, body, meta_data, url, level, expires_at)
    _check_key("idempotency_key", idempotency_key)
    _check_key("replace_key", replace_key)
    if not persist and (idempotency_key or replace_key or expires_at):
        raise ValueError(
            "persist=False stores nothing: idempotency_key, replace_key and expires_at need a row"
        )
    using = router.db_for_write(Notification)
    keys = account_keys(accounts)
    require_known(keys)
    if not keys:
        return NotifyResult()
    if not persist:
        frame = protocol.frame(type, body, meta_data, level=level, url=url)

        def publish() -> None:
            publishing.publish_frame(keys, frame)

        transaction.on_commit(publish, using=using, robust=True)
        return NotifyResult()
    values = {
        "type": type,
        "body": body,
        "meta_data": meta_data,
        "url": url,
        "level": level,
        "idempotency_key": idempotency_key,
        "replace_key": replace_key or "",
        "expires_at": expires_at,
    }
    older = lives.older_ids(keys, idempotency_key, using) if idempotency_key else {}
    others = [key for key in keys if key not in older] if older else keys
    ids: list[int] = []
    with transaction.atomic(using=using, savepoint=False):
        rows = Notification.objects.using(using)
        for start in range(0, len(others), ROWS_PER_STATEMENT):
            ids += rows.insert(others[start : start + ROWS_PER_STATEMENT], **values)
        for key, id in older.items():
            ids += rows.insert([key], life=id, **values)
        numbering.number_after_commit(keys, using)
    return NotifyResult(created=len(ids), skipped=len(keys) - len(ids), ids=ids)


async def anotify_accounts(accounts: Any, type: str, body: str, **options: Any) -> NotifyResult:
    """Like `notify_accounts`, for use in an event loop."""
    return await database_sync_to_async(notify_accounts)(accounts, type, body, **options)


def broadcast(
    type: str,
    body: str,
    *,
    audience: str | Group = "everyone",
    meta_data: Any = "",
    url: str = "",
    level: str = "info",
    expires_at: datetime | None = None,
    sent_by: Any = None,
) -> Broadcast:
    """
    Send one message to all accounts of an audience: a single row for all inboxes and open tabs.

    audience: "everyone" (every active account), "staff" or a saved Group.
        Accounts created later don't get the broadcast.
    sent_by: the account of the operator, if any.

    The other arguments and the errors are those of `notify_accounts`.
    """
    _require_no_running_loop("broadcast", "await database_sync_to_async(broadcast)(...)")
    type, body, url, level, meta_data = _resolved(type, body, url, level, meta_data)
    audience = resolved(audience, 0)
    _check_message(type, body, meta_data, url, level, expires_at)
    _check_account("sent_by", sent_by)
    row = Broadcast(
        audience=audience_key(audience),
        type=type,
        body=body,
        meta_data=meta_data,
        url=url,
        level=level,
        expires_at=expires_at,
        sent_by=sent_by,
    )
    using = router.db_for_write(Broadcast)
    with transaction.atomic(using=using, savepoint=False):
        row.save(using=using, force_insert=True)
        numbering.number_broadcasts_after_commit(using)
    return row


def retract(messages: Any, by: Any = None) -> int:
    """
    Remove notifications or broadcasts from all inboxes and open tabs; return how many.

    This is part of the caller's transaction: if it rolls back, nothing is removed. It locks no
    row that another transaction may want; the messages are removed after the commit. Those that
    are already removed, or were retracted before, are skipped.

    messages: a Notification, a Broadcast, or an iterable or queryset of them.
    by: the account that retracts them, if any.

    Raises ValueError for anything else; RuntimeError inside a running event loop.
    """
    _require_no_running_loop("retract", "await aretract(...)")
    _check_account("by", by)
    by_key = None if by is None else by.pk
    retracted = 0
    for model, keys in _message_keys(messages).items():
        if keys:
            using = router.db_for_write(model)
            with transaction.atomic(using=using, savepoint=False):
                retracted += retraction.retract(model, sorted(keys), by_key, using)
    return retracted


async def aretract(messages: Any, by: Any = None) -> int:
    """Like `retract`, for use in an event loop."""
    return await database_sync_to_async(retract)(messages, by)


def move_inbox(from_account: Any, to_account: Any) -> int:
    """
    Move all that is in one account's inbox to another's, before merged accounts are deleted.

    Read and archived items stay so, and idempotency keys count for the other account. Of two
    unread notifications with the same `replace_key`, the newer one stays. Moved items are listed
    above those that the other account had, whose open tabs reload their lists.

    Every step is a short transaction, and a call that was interrupted can be repeated.

    Returns how many notifications and receipts were moved. Raises ValueError unless both are
    accounts, and different ones; RuntimeError inside a transaction or a running event loop.
    """
    _require_no_running_loop("move_inbox", "await amove_inbox(...)")
    keys = account_keys([from_account, to_account])
    if len(keys) < 2:
        raise ValueError("from_account and to_account must be different accounts")
    require_known(keys)
    from_key, to_key = (account_keys(account)[0] for account in (from_account, to_account))
    return moving.move(from_key, to_key, router.db_for_write(Notification))


async def amove_inbox(from_account: Any, to_account: Any) -> int:
    """Like `move_inbox`, for use in an event loop."""
    return await database_sync_to_async(move_inbox)(from_account, to_account)


def _message_keys(messages: Any) -> dict[type[Notification | Broadcast], set[int]]:
    """Return the primary keys of the notifications and of the broadcasts."""
    keys: dict[type[Notification | Broadcast], set[int]] = {Notification: set(), Broadcast: set()}
    if isinstance(messages, QuerySet) and messages.model in keys:
        keys[messages.model].update(messages.values_list("pk", flat=True))
    else:
        for message in messages if isinstance(messages, Iterable) else [messages]:
            if type(message) not in keys or message.pk is None:
                raise ValueError(
                    f"messages must be saved notifications or broadcasts, not {message!r:.100}"
                )
            keys[type(message)].add(message.pk)
    return keys


# --- Checks


def _require_no_running_loop(function: str, instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    if os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):  # then Django's queries work there too
        return
    raise RuntimeError(
        f"{function}() waits for the database and can't be called in an event loop; use {instead}"
    )


def _resolved(*values: Any) -> list[Any]:
    # One level more than meta data may have, so that it is found to have too many.
    return [resolved(value, protocol.MAX_META_DATA_LEVELS + 1) for value in values]


def _check_message(
    type: Any, body: Any, meta_data: Any, url: Any, level: Any, expires_at: Any
) -> None:
    if not protocol.is_valid_type(type):
        raise ValueError(
            f"type must be a lowercase letter, followed by lowercase letters, digits, “_” or “.”, "
            f"with at most {protocol.MAX_TYPE_LENGTH} characters in all, and none of "
            f"{', '.join(sorted(protocol.RESERVED_TYPES))}; not {type!r:.100}"
        )
    if not _is_storable_text(body):
        raise ValueError(f"body must be text without NUL or surrogates, not {body!r:.100}")
    if is_blank(body):
        raise ValueError(
            "body must be text that can be seen, with more than spaces, marks and invisible "
            f"characters; not {body!r:.100}"
        )
    if len(body) > protocol.MAX_BODY_LENGTH:
        raise ValueError(
            f"body must have at most {protocol.MAX_BODY_LENGTH} characters, not {len(body)}: "
            f"{body[:100]!r:.100}"
        )
    _check_meta_data(meta_data)
    if not protocol.is_safe_url(url):
        raise ValueError(
            f"url must be empty, an http(s) URL, or a path on the site that starts with a single "
            f"“/”, with at most {protocol.MAX_URL_LENGTH} characters and without spaces, control "
            f"characters or backslashes; not {url!r:.100}"
        )
    if level not in protocol.LEVELS:
        raise ValueError(f"level must be one of {', '.join(protocol.LEVELS)}; not {level!r:.100}")
    if expires_at is not None and not _is_storable_time(expires_at):
        kind = "an aware datetime" if settings.USE_TZ else "a datetime"
        raise ValueError(f"expires_at must be {kind} or None, not {expires_at!r:.100}")


def _check_meta_data(meta_data: Any) -> None:
    try:
        protocol.encode_meta_data(meta_data)
    except ValueError as error:
        raise ValueError(f"meta_data {error}") from error


def _check_key(name: str, value: Any) -> None:
    if value is None:
        return
    if not (_is_storable_text(value) and 0 < len(value) <= MAX_KEY_LENGTH):
        raise ValueError(
            f"{name} must be None or text of 1 to {MAX_KEY_LENGTH} characters, not {value!r:.100}"
        )


def _check_account(name: str, value: Any) -> None:
    if value is None or (isinstance(value, get_user_model()) and value.pk is not None):
        return
    raise ValueError(f"{name} must be None or a saved account, not {value!r:.100}")


def _is_storable_time(value: Any) -> bool:
    if not isinstance(value, datetime) or (settings.USE_TZ and is_naive(value)):
        return False
    return times.is_storable(value)


def _is_storable_text(value: Any) -> bool:
    if not isinstance(value, str) or "\x00" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
