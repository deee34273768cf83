"""The identity of a program: its default name, its location, and a fingerprint of its code."""

from __future__ import annotations

import hashlib
import inspect
import types
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._program.state_versions import Versions

__all__ = ["LOADED_FILE_PREFIX", "ProgramCode", "is_same_function", "module_name"]

LOADED_FILE_PREFIX: Final = "loom_agent_"
"""The prefix of the module name of an agent file whose stem cannot be one; its agents are named by
the stem.
"""
_RUN_AS_FILE: Final = frozenset({"__main__", "__mp_main__", "<run_path>"})
"""Names of a module that do not say what it is: of a script, also in a spawned process or under
`runpy`.
"""


class ProgramCode:
    """A user's function: its names, its location, and a fingerprint of its file."""

    def __init__(self, function: Callable[..., Any], versions: Versions) -> None:
        self.function = function
        self.version = versions.current
        self.upgraded = versions.upgraded
        function = _underlying(function)
        self.name: str = getattr(function, "__qualname__", None) or type(function).__qualname__

    @cached_property
    def _code(self) -> types.CodeType | None:
        code = getattr(inspect.unwrap(_underlying(self.function)), "__code__", None)
        return code if isinstance(code, types.CodeType) else None

    @cached_property
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
        """`module:function`, the same however its module was started."""
        return f"{module_name(_underlying(self.function))}:{self.name}"


def module_name(function: Callable[..., Any]) -> str:
    """Return the module of a function, the same whether its file was run, loaded by path, spawned,
    or imported: its path from the outermost package, or the stem of a file outside packages.
    """
    names: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
    name: str = getattr(function, "__module__", None) or type(function).__module__
    spec, file = names.get("__spec__"), names.get("__file__")
    if name == "__main__" and spec is not None:  # python -m package.module
        return str(spec.name).removesuffix(".__main__")
    if file and (name in _RUN_AS_FILE or name.startswith(LOADED_FILE_PREFIX) or "." not in name):
        return _dotted(Path(file))
    return name


def _dotted(file: Path) -> str:
    """Return the dotted name of a module by its file."""
    folder = file.absolute().parent
    parts = [] if file.stem == "__init__" else [file.stem]
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts)


def _underlying(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, partial):
        function = function.func
    return function


def is_same_function(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Return whether two functions do the same: one function, or two of one `def` with equal
    variables, as a factory that is called twice makes them.
    """
    if one == other:
        return True
    if not (isinstance(one, types.FunctionType) and isinstance(other, types.FunctionType)):
        return False
    if one.__code__ is not other.__code__:
        return False
    try:
        return bool(_variables(one) == _variables(other))
    except Exception:  # noqa: BLE001  (values that cannot be compared, or a variable without a value)
        return False


def _variables(function: types.FunctionType) -> object:
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return cells, function.__defaults__, function.__kwdefaults__
