"""The base of notifications and broadcasts."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext_lazy as _

from notifications import protocol
from notifications.db import times
from notifications.texts import plain

logger = logging.getLogger(__name__)


def validate_type(value: str) -> None:
    if value in protocol.RESERVED_TYPES:
        raise ValidationError(
            _("“%(value)s” is reserved. Choose another type."), params={"value": value}
        )
    if not protocol.is_valid_type(value):
        raise ValidationError(
            _("Use lowercase letters, digits, “_” or “.”, starting with a letter (64 at most).")
        )


def validate_url(value: str) -> None:
    if not protocol.is_safe_url(value):
        raise ValidationError(
            _("Enter a path on this site, such as /orders/, or an address such as https://…")
        )


def stored_meta_data(stored: str) -> Any:
    """Return meta data from the JSON in the database, "" if no frame can have it."""
    try:
        return protocol.decode_meta_data(stored)
    except ValueError as error:
        logger.error("A message is shown without its meta data, which can't be sent: %s", error)
        return ""


class Level(models.TextChoices):
    INFO = "info", _("Info")
    SUCCESS = "success", _("Success")
    WARNING = "warning", _("Warning")
    ERROR = "error", _("Error")


class State(models.TextChoices):
    """The state of a message in one account's inbox; the values are used on the wire."""

    UNREAD = "unread", _("Unread")
    READ = "read", _("Read")
    ARCHIVED = "archived", _("Archived")
    REMOVED = "gone", _("Removed")


class JSONValueField(models.JSONField):
    """
    The meta data of a message.

    Stores None as JSON's null instead of SQL's NULL. A row can be read whatever other code has
    written there.
    """

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        try:
            protocol.encode_meta_data(value)
        except ValueError as error:
            text = _("The meta data can't be sent: it %(reason)s.")
            raise ValidationError(text, params={"reason": error}) from error
        super().validate(value, model_instance)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        return stored_meta_data(value) if isinstance(value, str) else value

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        if value is None:
            return connection.ops.adapt_json_value(None, self.encoder)
        return super().get_db_prep_save(value, connection)

    def deconstruct(self) -> Any:
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs


class Message(models.Model):
    """The base of notifications and broadcasts: the message and its numbers."""

    type = models.CharField(_("type"), max_length=64, validators=[validate_type])
    body = models.TextField(_("body"), validators=[MaxLengthValidator(protocol.MAX_BODY_LENGTH)])
    meta_data = JSONValueField(_("meta data"), default=str, blank=True)
    url = models.CharField(
        _("link"), max_length=protocol.MAX_URL_LENGTH, blank=True, validators=[validate_url]
    )
    level = models.CharField(_("level"), max_length=7, choices=Level.choices, default=Level.INFO)
    created_at = times.TimeField(_("created"), default=times.now, editable=False)
    expires_at = times.TimeField(_("expires"), null=True, blank=True)
    # Both are assigned after the commit. `number` never changes: lists are ordered by it.
    # `seq` is the number of the row's last change.
    number = models.PositiveBigIntegerField(null=True, editable=False)
    seq = models.PositiveBigIntegerField(null=True, editable=False)
    # Retracted, expired or replaced. The row stays, as clients have to learn of the removal.
    removed_at = times.TimeField(null=True, editable=False)
    # When and by whom it was retracted; set together with `removed_at`.
    retracted_at = times.TimeField(null=True, editable=False)
    retracted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        editable=False,
        related_name="+",
        db_index=False,
    )

    wire_prefix: ClassVar[str]

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.type}: {plain(self.body[:80])}"

    @property
    def wire_id(self) -> str:
        """The id that clients know: an opaque string, unique across both kinds of messages."""
        return f"{self.wire_prefix}{self.pk}"

    def frame(self, state: str = State.UNREAD, **numbers: Any) -> protocol.Frame:
        """Return the message as clients receive it, by WebSocket and by HTTP."""
        return protocol.frame(
            self.type,
            self.body,
            self.meta_data,
            id=self.wire_id,
            number=self.number,
            **numbers,
            state=str(state),
            level=self.level,
            # The row may have been written before URLs were checked, or by other code.
            url=self.url if protocol.is_safe_url(self.url) else "",
            created_at=self.created_at.isoformat(),
            expires_at=self.expires_at and self.expires_at.isoformat(),
        )
