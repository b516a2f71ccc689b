"""Primary keys as callers and forms give them."""

from __future__ import annotations

from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import AutoField

MAX_KEY: Final = 2**63 - 1


def to_key(value: Any, field: Any) -> Any:
    """
    Return a value as a key of this field, whether there is such a row or not.

    Raises ValidationError for anything that no database can look up.
    """
    key = field.to_python(value)
    if isinstance(key, int) and not -MAX_KEY <= key <= MAX_KEY:
        raise ValidationError("too large to look up")
    if isinstance(key, str) and "\x00" in key:
        raise ValidationError("no database stores NUL")
    return key


def is_key(value: Any, field: Any) -> bool:
    try:
        to_key(value, field)
    except ValidationError:
        return False
    return True


def is_automatic(field: Any) -> bool:
    """Whether the database gives this primary key, or that of the parent it is the key of."""
    while field.remote_field:
        field = field.target_field
    return isinstance(field, AutoField)
