"""
Run a server as one of its later releases might be, with its insides changed.

    python -m tests.cluster.changed CHANGE … MODULE ARGUMENT …

A change is `project==version`, which the project then has by its metadata, or `package:name`: a
name that is another one in all modules of the package.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import re
import runpy
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any


class Renaming(importlib.machinery.SourceFileLoader):
    names: set[str]

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        for name in self.names:
            source = re.sub(rf"\b{name}\b", f"{name}_renamed", source)
        return compile(source, self.path, "exec", dont_inherit=True)


class Finder:
    def __init__(self, package: str, name: str) -> None:
        self.package = package
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> Any:
        if fullname.partition(".")[0] != self.package:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Renaming(fullname, spec.loader.path)
            spec.loader.names = {self.name}
        return spec


def main(arguments: list[str]) -> None:
    versions = {}
    while ":" in arguments[0] or "==" in arguments[0]:
        change = arguments.pop(0)
        if "==" in change:
            project, version = change.split("==")
            versions[project] = version
        else:
            sys.meta_path.insert(0, Finder(*change.split(":")))
    installed = importlib.metadata.version
    importlib.metadata.version = lambda project: versions.get(project) or installed(project)
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
