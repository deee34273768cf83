"""Agent modules for the command line: `MODULE[:ATTR]`.

MODULE is a file (`agents/counter.py`) or an importable name (`my_agents.counter`). Without ATTR the
module offers `build_runner(db_path) -> AgentRunner`, or an `agent`, or a `step` function. ATTR
names a step function, a `@tailrec` loop, a function like `build_runner`, an `Agent`, or an
`AgentRunner`. The module's `initial_state()` returns the initial state of a run that is started
without `--input`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loom_runner._engines.local import LocalEngine
from loom_runner._engines.runner import AgentRunner
from loom_runner._model.outcomes import Complete, Continue, Wait
from loom_runner._program.agent import Agent
from loom_runner._program.codec import hints_of
from loom_runner._program.context import RunContext
from loom_runner._program.identity import LOADED_FILE_PREFIX
from loom_runner._program.tools import ToolRegistry
from loom_runner._store.address import address_of
from loom_runner._store.sqlite.store import SQLiteStore
from loom_runner.errors import AgentModuleError, RunnerError, StateDecodeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from loom_runner._store.sqlite.file import Durability

__all__ = ["AgentModule", "load_module"]

_PACKAGE: Final = str(Path(__file__).parents[1]) + os.sep


@dataclass(frozen=True, slots=True)
class AgentModule:
    """A loaded module and the object that was named in it.

    Attributes:
        folder: The current folder before the module was loaded, which may have changed it.
    """

    target: str
    module: ModuleType
    attribute: str
    found: Any
    folder: str = ""

    def runner(self, db: str, durability: Durability | None) -> AgentRunner:
        """Return a runner on a database; its leases record the module, for the commands in hints.

        Raises:
            AgentModuleError: The named object cannot be run.
        """
        absolute = db if db == ":memory:" else str(Path(self.folder) / db)
        runner = self._runner(address_of(db, os.path.normpath(absolute)) if self.folder else db, durability)
        runner.module = self.target
        return runner

    def _runner(self, db: str, durability: Durability | None) -> AgentRunner:
        found = self.found
        if isinstance(found, AgentRunner):
            return found
        if isinstance(found, Agent):
            return AgentRunner.of(found, LocalEngine(SQLiteStore(db, durability or "power")))
        if not callable(found):
            raise AgentModuleError(
                f"cannot run {self.target}: {self.attribute} is {_a(found)}. Name a function, an Agent or an "
                f"AgentRunner (there: {_offers(self.module)})."
            )
        if self.attribute == "build_runner" or _returns_runner(found):
            return self._build(found, db, durability)
        tools = getattr(self.module, "tools", None)
        registry = tools if isinstance(tools, ToolRegistry) else None
        store = SQLiteStore(db, durability or "power")
        try:
            if self.attribute == "step" or _is_step(found):
                return AgentRunner(step=found, store=store, tools=registry)
            return AgentRunner(loop=found, store=store, tools=registry)
        except BaseException as exc:
            store.close()
            if isinstance(exc, RunnerError) or not isinstance(exc, Exception):
                raise
            # The compiler raises its own error for a loop, which this module does not import.
            first = next(iter(str(exc).splitlines()), "")
            raise AgentModuleError(
                f"cannot run {self.target}: {self.attribute} is neither a step(state, ctx) nor a @tailrec loop "
                f"({type(exc).__name__}: {first})."
            ) from exc

    def _build(self, build: Callable[..., Any], db: str, durability: Durability | None) -> AgentRunner:
        options: dict[str, Any] = {}
        if durability is not None:
            if "durability" not in inspect.signature(build).parameters:
                raise AgentModuleError(
                    f"cannot use --durability with {self.target}: {self.attribute}(db_path) does not take it. "
                    "Add a durability parameter and pass it to SQLiteStore."
                )
            options["durability"] = durability
        runner = _called(self.target, self.attribute, build, db, **options)
        if not isinstance(runner, AgentRunner):
            raise AgentModuleError(
                f"cannot run {self.target}: {self.attribute} returned {_a(runner)}. Return an AgentRunner."
            )
        return runner

    def initial(self, runner: AgentRunner, typed: str | None) -> Any:
        """Return the initial state of a new run: `--input`, else the module's `initial_state()`,
        else None.
        """
        if typed is not None:
            try:
                json.loads(typed)
            except ValueError as exc:
                raise UsageError(f"cannot use --input: it is not JSON ({exc}). Quote it for the shell.") from exc
            try:
                return runner.program.read_input(typed)
            except (StateDecodeError, ValueError) as exc:
                what = f"it does not fit the state of {runner.program.name!r}"
                raise UsageError(f"cannot use --input: {what} ({_misfit(exc)}). Correct it.") from exc
        initial = getattr(self.module, "initial_state", None)
        if initial is not None:
            state = _called(self.target, "initial_state", initial)
            if inspect.iscoroutine(state):
                state.close()
                raise AgentModuleError(
                    f"cannot run {self.target}: initial_state() is async. Make it a plain function, and await in the "
                    "step."
                )
            return state
        return None


def _misfit(error: Exception) -> str:
    """Describe the first value that does not fit, with pydantic's message if there is one."""
    cause: Any = error.__cause__ or error
    if not hasattr(cause, "errors"):
        return " ".join(str(cause).split())
    first = cause.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def load_module(target: str) -> AgentModule:
    """Load what `MODULE[:ATTR]` names; see `_load`."""
    try:
        folder = str(Path.cwd())
    except FileNotFoundError:  # it was deleted
        folder = ""
    return replace(_load(target), folder=folder)


def _load(target: str) -> AgentModule:
    """Import what `MODULE[:ATTR]` names.

    Raises:
        AgentModuleError: There is no such module, it cannot be imported, or it offers nothing to
            run.
    """
    name, colon, attribute = target.rpartition(":")
    if not colon or not attribute.isidentifier():
        name, attribute = target, ""
    module = _import(name)
    if attribute:
        if not hasattr(module, attribute):
            raise AgentModuleError(f"cannot run {target}: {name} has no {attribute}. It has: {_offers(module)}.")
        return AgentModule(target, module, attribute, getattr(module, attribute))
    for usual in ("build_runner", "agent", "step"):
        if hasattr(module, usual) and (usual != "agent" or isinstance(module.agent, Agent)):
            return AgentModule(target, module, usual, getattr(module, usual))
    raise AgentModuleError(
        f"cannot run {target}: it has no build_runner(db_path), no agent = Agent(...) and no step(state, ctx). "
        f"Add one, or name a function: {name}:NAME (there: {_offers(module)})."
    )


def _import(name: str) -> ModuleType:
    path = Path(name)
    if path.suffix == ".py" or path.exists() or "/" in name:
        return _import_file(path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(f"{exc.name}.")):
            hint = "Give a file (agent.py) or a name that Python can import."
            parent, _, last = name.rpartition(".")
            if parent in sys.modules and hasattr(sys.modules[parent], last):
                hint = f"A function of a module is named with a colon: {parent}:{last}."
            raise AgentModuleError(f"cannot load {name}: there is no such module. {hint}") from exc
        raise _broken(name, exc) from exc
    except BaseException as exc:
        raise _broken(name, exc) from exc


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        what = "it is a directory" if path.is_dir() else "there is no such file"
        raise AgentModuleError(f"cannot load {path}: {what}. Name the agent's Python file.")
    sys.path.insert(0, str(path.parent.resolve()))
    name = (
        path.stem
        if path.stem.isidentifier() and path.stem not in sys.modules
        else f"{LOADED_FILE_PREFIX}{abs(hash(path))}"
    )
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise AgentModuleError(f"cannot load {path}: it is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as exc:
        sys.modules.pop(name, None)
        raise _broken(str(path), exc, _package_hint(path, exc)) from exc
    return module


def _broken(name: str, exc: BaseException, hint: str = "") -> BaseException:
    if isinstance(exc, KeyboardInterrupt):
        return exc
    if (refused := _compiler_error(exc)) is not None:
        return AgentModuleError(f"cannot load {name}: {refused}")
    return AgentModuleError(f"cannot load {name}: it raised {_one_line(exc)}.{hint}")


def _compiler_error(exc: BaseException) -> str | None:
    """Return the error of `@tailrec` in one line, with the place that it names; None for others.
    This module does not import the compiler.
    """
    fix, line = getattr(exc, "fix", None), getattr(exc, "line", None)
    if not isinstance(fix, str) or not hasattr(exc, "reason"):
        return None
    where = f" ({Path(str(getattr(exc, 'filename', '?'))).name}:{line})" if line is not None else ""
    first = next(iter(str(exc).splitlines()), "").rstrip(".")
    return " ".join(f"{first}{where}. {fix}".split())


def _package_hint(path: Path, exc: BaseException) -> str:
    """Return how to name a file of a package whose imports need the package; empty if the error is
    another one.
    """
    path = path.resolve()
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    is_relative = isinstance(exc, ImportError) and "no known parent package" in str(exc)
    if is_relative and folder == path.parent:
        folder = folder.parent  # a package without __init__.py
    parts = path.relative_to(folder).with_suffix("").parts
    is_own = isinstance(exc, ModuleNotFoundError) and len(parts) > 1 and (exc.name or "").partition(".")[0] == parts[0]
    if not (is_relative or is_own):
        return ""
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    where = "" if folder == Path.cwd() else f" in the folder {folder}"
    return f" The file belongs to a package: name it {'.'.join(parts)}{where}."


def _called(target: str, what: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except RunnerError:
        raise
    except Exception as exc:
        raise AgentModuleError(f"cannot run {target}: {what}() raised {_one_line(exc)}.") from exc


def _one_line(exc: BaseException) -> str:
    if isinstance(exc, SyntaxError):
        return f"SyntaxError: {exc.msg} ({Path(exc.filename or '?').name}:{exc.lineno})"
    frames = [each for each in traceback.extract_tb(exc.__traceback__) if not each.filename.startswith(("<", _PACKAGE))]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(exc).__name__}: {' '.join(str(exc).split())[:300].rstrip('.')}{where}"


def _a(value: Any) -> str:
    """Return the name of a value's type with its article."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _is_step(function: Callable[..., Any]) -> bool:
    """Return whether a function is a step, not a loop: it names outcomes in its return hint, or
    takes a context.
    """
    hints = hints_of(function)
    returned = str(hints.get("return", "")) + str(getattr(function, "__annotations__", {}).get("return", ""))
    if any(outcome.__name__ in returned for outcome in (Continue, Complete, Wait)):
        return True
    parameters = list(inspect.signature(function).parameters.values())
    return len(parameters) == 2 and (
        hints.get(parameters[1].name) is RunContext or parameters[1].name in ("ctx", "context", "_ctx", "_context")
    )


def _returns_runner(function: Callable[..., Any]) -> bool:
    hint = hints_of(function).get("return")
    return isinstance(hint, type) and issubclass(hint, AgentRunner)


def _offers(module: ModuleType) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (isinstance(value, Agent) or callable(value))
        and (isinstance(value, Agent) or getattr(value, "__module__", None) == module.__name__)
    ]
    return ", ".join(own[:8]) or "no function"
