"""Run one program with given decorators and record everything that a caller can observe."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import linecache
import re
import signal
import sys
import threading
import time
import traceback
import types
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


class TooSlow(BaseException):
    """Raised inside a program that runs longer than its watchdog allows; no ``except Exception``
    can stop it.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """The result of one run: how it ended, what it logged, and how often its coroutine
    suspended.
    """

    kind: str  # "returned" | "raised" | "import-raised" | "too slow"
    value: str  # repr of the result, or "Type: text"
    where: str  # innermost line of the program in the traceback, "" when it returned
    events: tuple[str, ...]
    suspensions: int

    def __str__(self) -> str:
        at = f" at {self.where}" if self.where else ""
        lines = [f"{self.kind} {self.value}{at}, {self.suspensions} suspensions"]
        lines += [f"  {event}" for event in self.events[:60]]
        return "\n".join(lines)


@dataclasses.dataclass(slots=True)
class Decorators:
    """The pair of decorators a program imports, and what a run with them recorded.

    No Python frame may be between the program and the decorator: `functools.partial` adds
    options without one.
    """

    tailrec: Callable[..., Any]
    tailstream: Callable[..., Any]
    events: list[str] = dataclasses.field(default_factory=list)
    decorated: list[Callable[..., Any]] = dataclasses.field(default_factory=list)
    program: types.ModuleType | None = None
    compile: Callable[[str, str], types.CodeType] | None = None
    support: dict[str, Any] = dataclasses.field(default_factory=dict)
    call: Callable[..., Any] = lambda fn, *args, **kwargs: fn(*args, **kwargs)

    def module(self) -> types.ModuleType:
        """Build the module `subject` that a program imports."""
        subject = types.ModuleType("subject", "Stands for loom, or for plain recursion.")
        subject.__dict__.update(
            tailrec=self.tailrec,
            tailstream=self.tailstream,
            log=lambda *values: self.events.append(scrub(repr(values[0] if len(values) == 1 else values))),
            collect=collect,
            call=self.call,
        )
        return subject

    @contextlib.contextmanager
    def recording(self, filename: str) -> Iterator[None]:
        """Keep every function of the program that leaves loom's decorators, also those that only
        live inside a call.
        """

        def profile(frame: types.FrameType, event: str, made: Any) -> None:
            if event != "return" or not isinstance(made, types.FunctionType) or made.__code__.co_filename != filename:
                return
            if frame.f_code.co_filename.endswith("_decorators.py") and made not in self.decorated:
                self.decorated.append(made)

        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            yield
        finally:
            sys.setprofile(before)


def plain() -> Decorators:
    """Return decorators that return the function unchanged: plain recursion, the reference."""

    def unchanged(fn: Callable[..., Any] | None = None, /, **_options: Any) -> Any:
        return unchanged if fn is None else fn

    return Decorators(unchanged, unchanged)


def compiled(**options: Any) -> Decorators:
    """Return loom's decorators, with options that the program itself does not set (such as
    `blocks=`).
    """
    import loom

    if not options:
        return Decorators(loom.tailrec, loom.tailstream)
    return Decorators(functools.partial(loom.tailrec, **options), functools.partial(loom.tailstream, **options))


def by_transitions(**options: Any) -> Decorators:
    """Return loom's decorators, and run the program's own calls one transition at a time through
    `loom.transition`.
    """
    import loom

    async def asynchronous(delta: Any, out: Any) -> Any:
        out = await out
        while isinstance(out, loom.TailCall):
            out = await delta.step(out.arguments)
        return out.value

    def call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        delta = loom.transition(fn)
        out = delta(*args, **kwargs)
        if delta.is_async:
            return asynchronous(delta, out)
        while isinstance(out, loom.TailCall):
            out = delta.step(out.arguments)
        return out.value

    return dataclasses.replace(compiled(**options), call=call)


async def collect(stream: Any) -> list[Any]:
    """Read an async generator to its end."""
    return [item async for item in stream]


def scrub(text: str) -> str:
    """Remove memory addresses from a text: they differ between two runs of the same program."""
    return _ADDRESS.sub("0x", text)


class _Counted:
    """Await a coroutine and count how often it suspends."""

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self.coroutine.__await__()
        resume: Callable[[Any], Any]
        given: Any
        resume, given = inner.send, None
        while True:
            try:
                waits_for = resume(given)
            except StopIteration as stop:
                return stop.value
            self.suspensions += 1
            try:
                resume, given = inner.send, (yield waits_for)
            except BaseException as error:  # noqa: BLE001 - passed on to the coroutine
                resume, given = inner.throw, error


@contextlib.contextmanager
def watchdog(seconds: float) -> Iterator[None]:
    """Raise `TooSlow` in the main thread after some seconds; an outer timer (pytest-timeout) is put
    back as it was.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(_signal: int, _frame: types.FrameType | None) -> None:
        raise TooSlow

    handler = signal.signal(signal.SIGALRM, ring)
    started = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, left - (time.monotonic() - started)), interval)


def load(source: str, filename: str, decorators: Decorators, name: str = "program_under_test") -> types.ModuleType:
    """Execute the source as a module whose `subject` is the given decorators. `sys.modules` keeps
    it for pickling by name.
    """
    if filename not in linecache.cache and filename.startswith("<"):
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    module = types.ModuleType(name)
    module.__file__ = filename
    sys.modules["subject"] = decorators.module()
    sys.modules[name] = module
    if decorators.compile is None:
        code = compile(source, filename, "exec", dont_inherit=True)
    else:
        code = decorators.compile(source, filename)
        module.__dict__.update(decorators.support)
    decorators.program = module
    exec(code, module.__dict__)
    return module


def innermost(error: BaseException, filename: str) -> str:
    """Return where in the program an exception was raised: function and line of the deepest frame
    of that file.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    return f"{frames[-1].name}:{frames[-1].lineno}" if frames else ""


def run(
    source: str,
    filename: str,
    decorators: Decorators,
    *,
    entry: str = "main",
    seconds: float = 10.0,
    allowed_warning: type[Warning] | None = None,
    loop: bool = True,
    record: bool = False,
) -> Observation:
    """Execute a program, call its entry function and observe. Warnings are errors unless of the
    allowed class.

    `loop=False` is for programs whose coroutines only ever yield None: they are driven by hand,
    without an event loop. `record=True` fills `decorators.decorated`.
    """
    counted: _Counted | None = None
    kind, value, where = "returned", "", ""
    stage = "import-raised"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if allowed_warning is not None:
            warnings.simplefilter("ignore", allowed_warning)
        try:
            with watchdog(seconds), decorators.recording(filename) if record else contextlib.nullcontext():
                module = load(source, filename, decorators)
                stage = "raised"
                outcome = getattr(module, entry)()
                if inspect.iscoroutine(outcome):
                    counted = _Counted(outcome)
                    outcome = asyncio.run(_awaited(counted)) if loop else _drive(_awaited(counted))
                value = scrub(repr(outcome))
        except TooSlow:
            kind = "too slow"
        except BaseException as error:  # noqa: BLE001 - an observation holds every way to end
            kind, value = stage, scrub(f"{type(error).__name__}: {error}")
            where = innermost(error, filename)
            if isinstance(error, RecursionError):
                value, where = "RecursionError", ""
    return Observation(kind, value, where, tuple(decorators.events), counted.suspensions if counted else 0)


def _drive(coroutine: Any) -> Any:
    """Run a coroutine that only yields None; starting an event loop for each generated program
    would take most of the time.
    """
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value


async def _awaited(counted: _Counted) -> Any:
    return await counted
