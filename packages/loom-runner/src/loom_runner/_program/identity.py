"""The identity of a program: its default name, its location, and a fingerprint of its code."""

from __future__ import annotations

import hashlib
import inspect
import sys
import types
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._program.state_versions import Versions

__all__ = ["LOADED_FILE_PREFIX", "ProgramCode", "module_name"]

LOADED_FILE_PREFIX: Final = "loom_agent_"
"""The prefix of the module name of an agent file whose stem cannot be one; its agents are named by
the stem.
"""


class ProgramCode:
    """A user's function: its names, its location, and a fingerprint of its file."""

    def __init__(self, function: Callable[..., Any], versions: Versions) -> None:
        self.function = function
        self.version = versions.current
        self.upgraded = versions.upgraded
        self.name: str = getattr(function, "__qualname__", None) or type(function).__qualname__

    @cached_property
    def _code(self) -> types.CodeType | None:
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return code if isinstance(code, types.CodeType) else None

    @property
    def code_at(self) -> str:
        return f"{Path(self._code.co_filename).name}:{self._code.co_firstlineno}" if self._code else self.name

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the file without comment lines and blank lines; of the bytecode if there is no
        file.
        """
        if self._code is None:
            return hashlib.sha256(self.name.encode()).hexdigest()[:12]
        try:
            text = Path(self._code.co_filename).read_text("utf-8")
        except (OSError, ValueError):
            return hashlib.sha256(self._code.co_code).hexdigest()[:12]
        lines = (line.rstrip() for line in text.splitlines())
        kept = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
        return hashlib.sha256(kept.encode()).hexdigest()[:12]

    @property
    def default_name(self) -> str:
        """`module:function`, with the file's stem as the module if it was run or loaded as a
        file.
        """
        return f"{module_name(self.function)}:{self.name}"


def module_name(function: Callable[..., Any]) -> str:
    """Return the module of a function, the same whether its file was run, loaded by path, or
    imported.
    """
    name: str = getattr(function, "__module__", None) or type(function).__module__
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if name == "__main__" and spec is not None:  # python -m package.module
        return str(spec.name).removesuffix(".__main__")
    if name == "__main__" or name.startswith(LOADED_FILE_PREFIX):
        file = getattr(module, "__file__", None)
        return Path(file).stem if file else name
    return name
