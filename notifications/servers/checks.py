"""System check: whether the servers that are installed are of tested versions."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage

from .daphne import DAPHNE
from .uvicorn import UVICORN


def check_servers(**kwargs: Any) -> list[CheckMessage]:
    return [*DAPHNE.check(), *UVICORN.check()]
