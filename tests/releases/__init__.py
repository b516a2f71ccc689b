"""
The previous release, to hold the next one against: its wheel, its databases and its envelopes.

They were made by `python -m tests.releases.record` when that version was cut, and never change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PREVIOUS: Final = "0.2.0"

HERE: Final = Path(__file__).resolve().parent
SITE: Final = HERE / "site"  # the folder of release_site.py
RECORDED: Final = HERE / PREVIOUS

# In the folder of a version:
SQLITE: Final = "sqlite.sql"
POSTGRESQL: Final = "postgresql.sql"
ITEMS: Final = "items.json"
ENVELOPES: Final = "envelopes.json"
ENVELOPES_SCRIPT: Final = "release_envelopes.py"
