"""The database's query plans for the statements of a block of code, from EXPLAIN."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connections

_FULL_SCAN = re.compile(r"\bSeq Scan on (\w+)|^SCAN (\w+)(?! .*USING)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Plan:
    statement: str
    text: str

    @property
    def scanned(self) -> set[str]:
        """The tables that are read in full, without an index."""
        return {name for names in _FULL_SCAN.findall(self.text) for name in names if name}


@contextmanager
def plans(using: str = "default") -> Iterator[list[Plan]]:
    """Collect the plan of each statement in the block, made just before it is executed."""
    connection = connections[using]
    explain = connection.ops.explain_query_prefix()
    found: list[Plan] = []

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            execute(f"{explain} {sql}", params, many, context)
            lines = (str(row[-1]) for row in context["cursor"].fetchall())
            found.append(Plan(sql, "\n".join(lines)))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        yield found
