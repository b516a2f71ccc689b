"""IP addresses, as clients and proxies write them."""

from __future__ import annotations

from ipaddress import ip_address


def parse_address(text: str) -> str | None:
    """Return the IP address as it is usually written; None if the text is anything else."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # The zone of an IPv6 address may be any text.
    return None if getattr(address, "scope_id", None) else str(address)
