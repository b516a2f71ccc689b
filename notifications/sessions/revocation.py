"""
Informs the hubs, after the commit, that a session has ended or an account has changed.

This handles what Django announces by a signal. All else is found by the hubs' periodic recheck
(session_check.py). Sessions have no receiver of `post_delete`: with one, `clearsessions` would have
to load every row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import router, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete

from notifications.audiences import groups_field
from notifications.channel_layer import hub_commands
from notifications.db.signals import connect
from notifications.protocol import CloseCode

from .authentication import session_names

# Fields that decide which accounts may be connected and what they receive. Without this filter,
# every login would cause a recheck, because it saves `last_login`.
_FIELDS = frozenset({"password", "is_active", "is_staff"})


def connect_receivers() -> None:
    user_model = get_user_model()
    user_logged_out.connect(_logged_out, dispatch_uid="site_notifications")
    user_logged_in.connect(_logged_in, dispatch_uid="site_notifications")
    connect(post_save, _saved, user_model)
    connect(post_delete, _deleted, user_model)
    if field := groups_field():
        through, group_model = field.remote_field.through, field.related_model
        connect(m2m_changed, _groups_changed, through)
        connect(pre_delete, _group_deleted, group_model)


def _logged_out(request: Any, user: Any, **kwargs: Any) -> None:
    if user is not None:
        # The signal comes before the session is deleted: the hubs remember that it has ended.
        _end({request.session.session_key, _cookie(request)}, CloseCode.NOT_LOGGED_IN)


def _logged_in(request: Any, **kwargs: Any) -> None:
    """End the session that the browser had: a login gives it another key, or another account."""
    before = _cookie(request)
    if before != request.session.session_key:
        _end({before}, CloseCode.SESSION_CHANGED)


def _saved(instance: Any, created: bool, update_fields: Any, **kwargs: Any) -> None:
    if not created and (update_fields is None or _FIELDS.intersection(update_fields)):
        _recheck([instance.pk])


def _deleted(instance: Any, **kwargs: Any) -> None:
    _recheck([instance.pk])


def _groups_changed(
    action: str, instance: Any, reverse: bool, pk_set: set[Any] | None, **kwargs: Any
) -> None:
    if action in {"post_add", "post_remove", "pre_clear"}:
        if not reverse:
            _recheck([instance.pk])
        else:
            _recheck(_members(instance) if pk_set is None else pk_set)


def _group_deleted(instance: Any, **kwargs: Any) -> None:
    _recheck(_members(instance))


def _members(group: Any) -> list[Any]:
    accounts = get_user_model()._base_manager.filter(groups=group)
    return list(accounts.values_list("pk", flat=True))


def _cookie(request: Any) -> str | None:
    cookie: str | None = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    return cookie


def _end(keys: Iterable[str | None], code: CloseCode) -> None:
    names = sorted(name for key in keys if key for name in session_names(key))
    if names:
        _after_commit(lambda: hub_commands.end_sessions(names, code))


def _recheck(account_ids: Iterable[Any]) -> None:
    accounts = list(account_ids)
    _after_commit(lambda: hub_commands.recheck_accounts(accounts))


def _after_commit(send: Callable[[], None]) -> None:
    transaction.on_commit(send, using=router.db_for_write(get_user_model()), robust=True)
