"""
A second client, written from docs/protocol.md only: it uses nothing of this project's code.

It shows that the document is enough to write a right client from. `SecondClient` stays connected
to a site; `Inbox` holds the rules and does no I/O.
"""

from .client import SecondClient as SecondClient
from .inbox import Inbox as Inbox
