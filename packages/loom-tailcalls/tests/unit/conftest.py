"""Run a program as plain recursion and compiled, and compare what can be observed."""

import asyncio
import itertools
import linecache
import sys
import textwrap
import traceback
import types
from dataclasses import dataclass
from typing import Any

import loom
import pytest

_numbers = itertools.count()


@dataclass
class Observation:
    """What a program returned or raised, what it logged, where it failed, and which of its lines
    ran.
    """

    outcome: tuple[Any, ...]
    log: list[Any]
    lines: set[int]


class Programs:
    """Programs as text; `tailrec`, `tailstream`, `LOG`, `asyncio` and `collect` are there without
    an import.
    """

    def __init__(self) -> None:
        self.filenames: list[str] = []

    def load(self, source: str, *, compiled: bool = True) -> types.ModuleType:
        text = textwrap.dedent(source).lstrip("\n")
        filename = f"<program {next(_numbers)}>"
        self.filenames.append(filename)
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        module = types.ModuleType("program")
        module.__dict__.update(LOG=[], asyncio=asyncio, collect=collect, sys=sys)
        module.__dict__.update(tailrec=loom.tailrec if compiled else plainly)
        module.__dict__.update(tailstream=loom.tailstream if compiled else plainly)
        exec(compile(text, filename, "exec", dont_inherit=True), module.__dict__)
        return module

    def observe(self, source: str, *, compiled: bool) -> Observation:
        module = self.load(source, compiled=compiled)
        filename = self.filenames[-1]
        lines: set[int] = set()

        def trace(frame: types.FrameType, event: str, _: object) -> Any:
            if frame.f_code.co_filename != filename:
                return None
            if event == "line":
                lines.add(frame.f_lineno)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            value = module.main()
            if asyncio.iscoroutine(value):
                value = asyncio.run(value)
            outcome: tuple[Any, ...] = ("returned", repr(value))
        except Exception as error:
            frame = [part for part in traceback.extract_tb(error.__traceback__) if part.filename == filename][-1]
            outcome = ("raised", type(error).__name__, str(error), frame.name, frame.lineno, frame.colno)
        finally:
            sys.settrace(before)
        return Observation(outcome, list(map(repr, module.LOG)), lines)

    def same(self, source: str, *, lines: bool = True) -> types.ModuleType:
        """Assert that both runs are observably equal; return the compiled module."""
        plain, ours = (self.observe(source, compiled=compiled) for compiled in (False, True))
        assert ours.outcome == plain.outcome
        assert ours.log == plain.log
        if lines and plain.outcome[0] == "returned":
            assert ours.lines == plain.lines
        return self.load(source)

    def refusal(self, source: str) -> loom.TailCallError:
        with pytest.raises(loom.TailCallError) as caught:
            self.load(source)
        return caught.value


def plainly(fn: Any = None, **_: Any) -> Any:
    return (lambda function: function) if fn is None else fn


async def collect(stream: Any) -> list[Any]:
    return [item async for item in stream]


@pytest.fixture
def programs():
    made = Programs()
    yield made
    for filename in made.filenames:
        linecache.cache.pop(filename, None)
