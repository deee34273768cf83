"""Replace a function of the stack in a process, before other modules import it.

`sitecustomize.py` in `planted/` imports this module in each Python process whose environment has
`LOOM_REDTEAM_HOLE`, the source text of the hole. A module that is loaded later is patched right
after its own code has run, so `from module import name` elsewhere gets the replacement.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final

__all__ = ["VARIABLE", "plant"]

VARIABLE: Final = "LOOM_REDTEAM_HOLE"
_replacements: Final[dict[str, list[tuple[str, Any]]]] = {}


def replace(module: str, name: str, value: Any) -> None:
    """Replace `name` in a module when it is loaded; `Class.method` replaces a method."""
    _replacements.setdefault(module, []).append((name, value))


class _Patched(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for name, value in _replacements[module.__name__]:
            owner: Any = module
            *path, last = name.split(".")
            for part in path:
                owner = getattr(owner, part)
            getattr(owner, last)  # a hole that names nothing is a mistake
            setattr(owner, last, value)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _replacements:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Patched(spec.loader)
        return spec


def plant() -> None:
    """Plant the hole of the environment."""
    source = os.environ.get(VARIABLE)
    if source:
        hole: dict[str, Callable[..., None]] = {"replace": replace}
        exec(source, hole)  # noqa: S102 - the text of the area under test
        sys.meta_path.insert(0, _Finder())
