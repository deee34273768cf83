"""Which runners a root has: from the names of its files and a few of their tables. Nothing is
run.
"""

import itertools
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from loom_agents.workspace import Workspace, WorkspaceError, default_test_command

__all__ = ["Runner", "find_program", "lint_runners", "python_of", "test_runners"]

_MAX_BYTES: Final = 2_000_000
_PLACEHOLDER: Final = "no test specified"


@dataclass(frozen=True)
class Runner:
    """One command that a gate runs.

    Args:
        kind: Its rules and its reader: pytest, npm, go test, go vet, cargo test, cargo clippy,
            ruff, command.
        argv: Program and arguments.
        found_by: What it was detected by.
        before: Arguments before those of the client, if there are any (`--` of npm).
        after: Arguments after those of the client.
        default_target: What is checked when the client names no path.
    """

    kind: str
    argv: tuple[str, ...]
    found_by: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    default_target: tuple[str, ...] = ()

    def runs_code(self, root: Path) -> bool:
        """Report whether it executes what the repository brought. ruff from elsewhere reads
        only.
        """
        return self.kind != "ruff" or _in_root(root, self.argv[0])


def test_runners(workspace: Workspace, command: tuple[str, ...] | None) -> list[Runner]:
    """Return the commands of the tests; the command of the owner instead of those detected."""
    if command is not None:
        return [_named(command, "--test-cmd")]
    found = []
    if (reason := _python(workspace, tests=True)) is not None:
        found.append(Runner("pytest", default_test_command(workspace), reason))
    if "test" in (scripts := _scripts(workspace)) and _PLACEHOLDER not in scripts["test"]:
        found.append(Runner("npm", ("npm", "test"), "scripts.test in package.json", before=("--",)))
    if _has(workspace, "go.mod"):
        found.append(Runner("go test", ("go", "test"), "go.mod", default_target=("./...",)))
    if _has(workspace, "Cargo.toml"):
        found.append(Runner("cargo test", ("cargo", "test"), "Cargo.toml"))
    return found


def lint_runners(workspace: Workspace, command: tuple[str, ...] | None, *, is_trusted: bool) -> list[Runner]:
    """Return the commands of the linters.

    A root that is not trusted is checked by a ruff from elsewhere, if there is one: it reads the
    root's configuration and runs nothing of it.
    """
    if command is not None:
        return [_named(command, "--lint-cmd")]
    found = []
    if (reason := _python(workspace, tests=False)) is not None:
        program = _ruff(workspace.root, is_trusted=is_trusted)
        found.append(Runner("ruff", (program, "check", "--no-fix", "--no-cache"), reason, default_target=(".",)))
    if "lint" in _scripts(workspace):
        found.append(Runner("npm", ("npm", "run", "lint"), "scripts.lint in package.json", before=("--",)))
    if _has(workspace, "go.mod"):
        found.append(Runner("go vet", ("go", "vet"), "go.mod", default_target=("./...",)))
    if _has(workspace, "Cargo.toml"):
        argv = ("cargo", "clippy", "--quiet", "--message-format=short")
        found.append(Runner("cargo clippy", argv, "Cargo.toml", after=("--", "-D", "warnings")))
    return found


def python_of(workspace: Workspace) -> str:
    """Return the Python of the root's environment, else the one that runs this server."""
    return default_test_command(workspace)[0]


def find_program(root: Path, program: str) -> str | None:
    """Return the path of a program, or None; relative folders of PATH do not count."""
    if "/" in program:
        path = root / program
        return str(path) if path.is_file() and os.access(path, os.X_OK) else None
    folders = filter(os.path.isabs, os.environ.get("PATH", os.defpath).split(os.pathsep))
    return shutil.which(program, path=os.pathsep.join(folders))


def _named(command: tuple[str, ...], origin: str) -> Runner:
    names = [Path(word).name for word in command]
    kind: str = "command"
    if names[0] in ("pytest", "py.test") or ("-m", "pytest") in itertools.pairwise(names):
        kind = "pytest"
    elif names[:2] == ["ruff", "check"]:
        kind = "ruff"
    elif names[:2] == ["cargo", "test"]:
        kind = "cargo test"
    elif names[0] == "npm":
        return Runner("npm", command, origin, before=() if "--" in command else ("--",))
    return Runner(kind, command, origin)


def _in_root(root: Path, program: str) -> bool:
    """Report whether a program is in the root, or is a link that is there."""
    found = root / program if "/" in program else Path(find_program(root, program) or "/")
    return found.is_relative_to(root) or found.resolve().is_relative_to(root)


def _ruff(root: Path, *, is_trusted: bool) -> str:
    own = [name for name in (".venv/bin/ruff", "venv/bin/ruff") if (root / name).is_file()]
    beside = Path(sys.executable).parent / "ruff"
    elsewhere = [str(beside)] if beside.is_file() and not beside.is_relative_to(root) else []
    if (found := find_program(root, "ruff")) is not None and not Path(found).is_relative_to(root):
        elsewhere.append(found)
    return next(iter([*own, *elsewhere] if is_trusted else [*elsewhere, *own]), "ruff")


def _python(workspace: Workspace, *, tests: bool) -> str | None:
    names = ("pytest.ini", ".pytest.ini", "pytest.toml", "conftest.py") if tests else ("ruff.toml", ".ruff.toml")
    for name in names:
        if _has(workspace, name):
            return name
    tool = "pytest" if tests else "ruff"
    tables = _table(workspace, "pyproject.toml", tomllib.loads).get("tool")
    if isinstance(tables, dict) and tool in tables:
        return f"tool.{tool} in pyproject.toml"
    for name in ("pyproject.toml", "setup.py", "setup.cfg"):
        if _has(workspace, name):
            return name
    return next(_python_files(workspace.root, tests=tests), None)


def _python_files(root: Path, *, tests: bool) -> Iterator[str]:
    for folder in (root, root / "tests", root / "test"):
        try:
            names = sorted(path.name for path in folder.iterdir())
        except OSError:
            continue
        for name in names:
            if name.endswith(".py") and (not tests or name.startswith("test_") or name.endswith("_test.py")):
                yield str((folder / name).relative_to(root))


def _scripts(workspace: Workspace) -> dict[Literal["test", "lint"], str]:
    scripts = _table(workspace, "package.json", json.loads).get("scripts")
    if not isinstance(scripts, dict):
        return {}
    return {name: scripts[name] for name in ("test", "lint") if isinstance(scripts.get(name), str)}


def _has(workspace: Workspace, name: str) -> bool:
    return (workspace.root / name).is_file()


def _table(workspace: Workspace, name: str, load: Any) -> dict[str, Any]:
    """Return a table of a file; empty for a file that is missing, outside, too large or damaged."""
    try:
        with workspace.open(name) as stream:
            content = stream.read(_MAX_BYTES + 1)
        value = load(content.decode()) if len(content) <= _MAX_BYTES else {}
    except (WorkspaceError, ValueError, RecursionError, OSError):
        return {}
    return value if isinstance(value, dict) else {}
