"""System check: whether the installed servers have tested versions."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage

from .daphne import DAPHNE
from .uvicorn import UVICORN


def check_servers(**kwargs: Any) -> list[CheckMessage]:
    return [*DAPHNE.check(), *UVICORN.check()]
