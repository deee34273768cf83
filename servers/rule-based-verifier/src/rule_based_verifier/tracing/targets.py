"""What a client may ask to trace: a function that a file of the root defines, or one test."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loom_agents.workspace import Workspace, WorkspaceError

from rule_based_verifier._errors import CallError

__all__ = ["Target", "parse_target"]

_NAME: Final = r"[A-Za-z_]\w{0,100}"
_FUNCTION: Final = re.compile(rf"(?P<module>[\w./-]{{1,300}}):(?P<function>{_NAME}(?:\.{_NAME}){{0,3}})")
_TEST: Final = re.compile(r"(?P<file>[^:\0\n]{1,300}\.py)::(?P<names>[^\0\n]{1,300})")
_BASES: Final = ("", "src", "lib")


@dataclass(frozen=True, slots=True)
class Target:
    """What is run.

    Args:
        shown: As the client named it.
        path: The folders from which Python imports first.
        module: The module to import; empty for a test.
        function: The function in it; None for a test.
        test: The id of the test; empty for a function.
    """

    shown: str
    path: tuple[Path, ...]
    module: str = ""
    function: str | None = None
    test: str = ""


def parse_target(workspace: Workspace, text: str) -> Target:
    """Find a target in the root, before anything of it is imported.

    Args:
        workspace: The root.
        text: `package.module:function`, `path/file.py:function`, or `path/test_file.py::test`.

    Raises:
        CallError: It has another form, or the root has no such file.
    """
    if found := _TEST.fullmatch(text):
        real = workspace.resolve(found["file"])
        if not real.is_file():
            raise CallError(f"cannot trace {text!r}: there is no file {found['file']!r}. Use search_codebase.")
        test = f"./{workspace.shown(real)}::{found['names']}"
        return Target(text, (workspace.root,), test=test)
    found = _FUNCTION.fullmatch(text)
    if found is None:
        raise CallError(
            f"cannot trace {text[:200]!r}: give `package.module:function`, `path/file.py:function` or the"
            " id of one test, `path/test_file.py::test`."
        )
    module, function = found["module"], found["function"]
    if module.endswith(".py"):
        file = workspace.resolve(module)
        if not file.is_file():
            raise CallError(f"cannot trace {text!r}: there is no file {module!r}. Use search_codebase.")
        folder, names = file.parent, [file.stem] if file.stem != "__init__" else []
        while (folder / "__init__.py").is_file() and folder.is_relative_to(workspace.root):
            names.insert(0, folder.name)
            folder = folder.parent
        return Target(text, (folder, workspace.root), ".".join(names), function)
    parts = module.split(".")
    if not all(re.fullmatch(_NAME, part) for part in parts):
        raise CallError(f"cannot trace {text!r}: {module!r} is not the name of a module. Give its file instead.")
    for base in _BASES:
        for end in (".py", "/__init__.py"):
            name = "/".join(filter(None, (base, *parts))) + end
            try:
                is_there = workspace.resolve(name).is_file()
            except WorkspaceError:
                continue
            if is_there:
                return Target(text, (workspace.root / base, workspace.root), module, function)
    raise CallError(
        f"cannot trace {text!r}: the root has no module {module!r}, also not in `src`."
        " Give its file: `path/file.py:function`."
    )
