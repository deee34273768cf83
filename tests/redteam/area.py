"""An area: the attempts on one defence, and the hole that shows that they can succeed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Final

from tests.redteam import areas

__all__ = ["Area", "Attempt", "area_names", "load_area"]

Attempt = Callable[[Path], str | None]
"""Called with an empty folder; returns what got through, or None when the defence held."""


@dataclass
class Area:
    """The attempts on one defence.

    Args:
        name: Its name, as the report prints it.
        hole: Source text of the planted hole. It runs in this process and in every Python process
            that an attempt starts, before anything else, with `replace(module, name, function)`.
    """

    name: str
    hole: str
    attempts: dict[str, Attempt] = field(default_factory=dict)

    def attempt(self, name: str) -> Callable[[Attempt], Attempt]:
        """Add the decorated function as an attempt."""

        def add(function: Attempt) -> Attempt:
            if name in self.attempts:
                raise ValueError(f"the area {self.name} has two attempts named {name!r}")
            self.attempts[name] = function
            return function

        return add

    def attempt_each(self, name: str, cases: Iterable[Any]) -> Callable[[Callable[[Path, Any], str | None]], Any]:
        """Add the decorated function as one attempt for each case, named `name: case`."""

        def add(function: Callable[[Path, Any], str | None]) -> Callable[[Path, Any], str | None]:
            for case in cases:
                label = case[0] if isinstance(case, tuple) else case
                self.attempt(f"{name}: {label}")(lambda folder, case=case: function(folder, case))
            return function

        return add


def area_names() -> list[str]:
    """Return the names of the modules that hold an area."""
    return sorted(module.name for module in iter_modules(areas.__path__))


def load_area(name: str) -> Area:
    """Return the area of a module."""
    found: Final = importlib.import_module(f"tests.redteam.areas.{name}").AREA
    assert isinstance(found, Area)
    return found
