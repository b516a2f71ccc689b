"""
The digest of an envelope, by which hubs know that this site sent it.

Its key is SECRET_KEY, so a stranger with access to the channel layer only can't make one.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.utils.encoding import force_bytes

SALT: Final = b"notifications.envelope"
DIGEST_SIZE: Final = 16  # bytes


def digest(site: str, message_type: str, version: int, text: str) -> str:
    """Return the digest of an envelope's text, type and version, for this site."""
    return _digest(settings.SECRET_KEY, site, message_type, version, text)


def is_genuine(claimed: str, site: str, message_type: str, version: int, text: str) -> bool:
    """Whether this is the digest, with SECRET_KEY or one of SECRET_KEY_FALLBACKS."""
    wanted = claimed.encode()

    def is_from(secret: str | bytes) -> bool:
        found = _digest(secret, site, message_type, version, text)
        return hmac.compare_digest(wanted, found.encode())

    return is_from(settings.SECRET_KEY) or any(map(is_from, settings.SECRET_KEY_FALLBACKS))


def _digest(secret: str | bytes, site: str, message_type: str, version: int, text: str) -> str:
    hasher = _begun(secret, site, message_type, version).copy()
    hasher.update(text.encode())
    found: str = hasher.hexdigest()
    return found


# Django's salted_hmac would derive the key for each envelope, which takes ten times as long.
@lru_cache(maxsize=64)
def _begun(secret: str | bytes, site: str, message_type: str, version: int) -> Any:
    key = hashlib.sha256(SALT + force_bytes(secret)).digest()
    # Only the text, which follows, can have a line feed: no two envelopes are the same to it.
    first = f"{site}\n{message_type}\n{version}\n".encode()
    return hashlib.blake2b(first, key=key, digest_size=DIGEST_SIZE)
