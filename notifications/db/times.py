"""
Times: within the app they are aware, whatever USE_TZ is.

With `USE_TZ = False` Django's fields hold naive times in TIME_ZONE, in which the hour that a clock
is put back by comes twice, and SQLite stores them so, while its functions return UTC. `TimeField`
converts what our tables give and take, `aware` what comes from elsewhere, and `for_other_fields`
what is compared with the fields of others.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timezone
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.utils import timezone as django_timezone

if TYPE_CHECKING:
    DateTimeField = models.DateTimeField[Any, Any]
else:
    DateTimeField = models.DateTimeField


def now() -> datetime:
    return local(datetime.now(UTC))


def local(value: datetime) -> datetime:
    """
    Return an aware time as the site shows it.

    Without USE_TZ, templates and the admin show a time as it is. Python ignores the fold of two
    times that have the same zone, so its offset is fixed.
    """
    if settings.USE_TZ:
        return value
    here = value.astimezone(django_timezone.get_default_timezone())
    offset = here.utcoffset()
    assert offset is not None
    return here.replace(tzinfo=timezone(offset))


def aware(value: datetime) -> datetime:
    """Return a time that may be naive, as all of them are without USE_TZ: then in TIME_ZONE."""
    if django_timezone.is_naive(value):
        value = value.replace(tzinfo=django_timezone.get_default_timezone())
    return local(value)


def beginning(value: date) -> datetime:
    """Return the time at which a day begins in TIME_ZONE."""
    return aware(datetime.combine(value, time()))


def day_of(value: datetime) -> date:
    """Return the day of an aware time in TIME_ZONE."""
    return value.astimezone(django_timezone.get_default_timezone()).date()


def for_other_fields(value: datetime) -> datetime:
    """Return an aware time as Django's own fields take it."""
    if settings.USE_TZ:
        return value
    return django_timezone.make_naive(value, django_timezone.get_default_timezone())


def is_storable(value: datetime) -> bool:
    """Whether a time can be read again: PostgreSQL stores some that Python does not have."""
    try:
        aware(value).astimezone(UTC)
        aware(value).astimezone(django_timezone.get_default_timezone())
    except OverflowError:
        return False
    return True


class TimeField(DateTimeField):
    """
    A DateTimeField whose values are aware, whatever USE_TZ is.

    With USE_TZ it is Django's. Without, SQLite stores UTC, as with it, instead of local times.
    """

    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return value if value is None or settings.USE_TZ else aware(value)

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        # Django's has made it aware already, or left an expression as it is.
        return value if settings.USE_TZ or not isinstance(value, datetime) else aware(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if settings.USE_TZ or connection.vendor != "sqlite":
            return super().get_db_prep_value(value, connection, prepared)
        value = value if prepared else self.get_prep_value(value)
        if isinstance(value, datetime):
            value = value.astimezone(UTC).replace(tzinfo=None)
        return super().get_db_prep_value(value, connection, prepared=True)

    def get_db_converters(self, connection: Any) -> Any:
        return [] if settings.USE_TZ else [_from_database]

    def deconstruct(self) -> Any:
        """Return what a DateTimeField would: the column is the same."""
        name, _path, args, kwargs = super().deconstruct()
        if kwargs.get("default") is now:
            kwargs["default"] = django_timezone.now
        return name, "django.db.models.DateTimeField", args, kwargs


def _from_database(value: Any, expression: Any, connection: Any) -> Any:
    if value is None:
        return None
    if connection.vendor == "sqlite":
        return local(value.replace(tzinfo=UTC))
    return aware(value)
