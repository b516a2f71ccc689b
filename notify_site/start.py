"""What the demo refuses to start with, under any server: what is for a developer's machine only."""

from __future__ import annotations

import re
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address, ip_address
from socket import getaddrinfo
from typing import Final, NoReturn

from django.conf import settings
from django.core.checks import CheckMessage
from django.db import connections

ONLY_THIS_MACHINE: Final = (
    "With DJANGO_DEBUG=1 the demo is for this machine only: its passwords are public, and its "
    "error pages show everything. To serve others, set DJANGO_DEBUG=0, DJANGO_SECRET_KEY and "
    "DJANGO_ALLOWED_HOSTS, see docs/deployment.md."
)
# Of uvicorn and gunicorn too. With another one, gunicorn would start a worker after the other.
EXIT_STATUS: Final = 3
DATABASE_TIMEOUT_SECONDS: Final = 10  # a server also starts while the database is away


def refuse_unsafe_start(arguments: Sequence[str]) -> None:
    """
    Exit if the demo would debug where others reach it, or has public passwords when it does not.

    arguments: the server's command line.
    """
    if settings.DEBUG:
        if far := [host for host in _hosts(arguments) if not _is_here(host)]:
            _refuse(f"Not listening on {far[0] or 'all addresses'}. {ONLY_THIS_MACHINE}")
    elif found := _check_passwords():
        _refuse("\n".join(f"{each.msg} {each.hint}" for each in found))


def _refuse(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    raise SystemExit(EXIT_STATUS)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address, or the name “localhost”."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _is_here(host: str) -> bool:
    """Whether only this machine reaches a server with this host, however it is written."""
    try:
        found = getaddrinfo(host or "0.0.0.0", None)  # as the server does
    except OSError:
        return is_loopback(host)
    return all(is_loopback(str(address[0])) for *_, address in found)


def _hosts(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the addresses in the command line of any server that docs/deployment.md names."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-b", "--bind", "--host", dest="hosts", action="append", default=[])
    parser.add_argument("-e", "--endpoint", dest="endpoints", action="append", default=[])
    options, _ = parser.parse_known_args(arguments)
    for host in options.hosts:
        if not host.startswith(("unix:", "fd:")):
            yield re.sub(r"^\[(.*)\](:\d+)?$|^([^:]*):\d+$", r"\1\3", host)  # without a port
    for endpoint in options.endpoints:  # Twisted's: tcp:8000:interface=\:\:1
        kind, *parts = re.split(r"(?<!\\):", endpoint)
        if kind in {"tcp", "tcp6", "ssl"}:
            named = dict(part.split("=", 1) for part in parts if "=" in part)
            yield named.get("interface", "").replace("\\:", ":")


def _check_passwords() -> list[CheckMessage]:
    # In a thread, as uvicorn imports the application in its event loop, where Django refuses to
    # query. A frozen database must not keep the process from starting, or ending.
    found: list[CheckMessage] = []

    def check() -> None:
        from notifications.db.connections import leave_pools

        from .shop.checks import check_public_passwords

        leave_pools()  # a server that forks after the import must not share its connections
        try:
            found.extend(check_public_passwords())
        finally:
            connections.close_all()

    thread = threading.Thread(target=check, daemon=True)
    thread.start()
    thread.join(DATABASE_TIMEOUT_SECONDS)
    return found
