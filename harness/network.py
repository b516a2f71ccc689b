"""A network namespace that acts as a client's machine, with a cable that can be pulled."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x40000000

T = TypeVar("T")


class Machine:
    """The far end of the cable; the near end has the address `host`."""

    def __init__(self, name: str) -> None:
        self.name = name
        # A /30 of its own, from the range reserved for network tests (RFC 2544).
        net = IPv4Address("198.18.0.0") + 4 * random.SystemRandom().randrange(2**14)
        self.host, self.address = net + 1, net + 2

    def plug_in(self) -> None:
        _ip(f"netns add {self.name}")
        _ip(f"link add {self.name} type veth peer name wire netns {self.name}")
        _ip(f"address add {self.host}/30 dev {self.name}")
        _ip(f"link set {self.name} up")
        _ip(f"-n {self.name} address add {self.address}/30 dev wire")
        _ip(f"-n {self.name} link set wire up")

    def cut(self) -> None:
        """Pull the cable: neither end is notified, and packets are lost."""
        _ip(f"-n {self.name} link set wire down")

    def run(self, function: Callable[[], T]) -> T:
        """Call a function on the machine; the connections that it opens belong to the machine."""
        with ThreadPoolExecutor(1) as thread:  # namespaces are per thread
            return thread.submit(self._enter_and, function).result()

    def _enter_and(self, function: Callable[[], T]) -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{self.name}").open() as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"could not enter {self.name}")
        return function()


@contextmanager
def machine() -> Iterator[Machine]:
    """Yield a new machine; needs root."""
    machine = Machine(f"cut{os.getpid()}")
    try:
        machine.plug_in()
        yield machine
    finally:
        subprocess.run(["ip", "netns", "delete", machine.name], check=False)


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True)
