"""What a run executes: a step function or a `@tailrec` loop, behind one protocol.

A program knows the types. The driver handles each value as JSON text and as a Python object, and
interprets neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from loom_runner._model.outcomes import Fail, Sleep, Spawn, Wait
    from loom_runner._program.context import RunContext

__all__ = ["Advance", "Program"]


@dataclass(slots=True)
class Advance:
    """The outcome of a step: Python values, and the same as JSON text. Not frozen, for speed."""

    outcome: Literal["continue", "complete", "wait", "sleep", "spawn", "fail"]
    state: Any = None
    state_text: str | None = None
    result: Any = None
    result_text: str | None = None
    suspension: Wait[Any] | Sleep[Any] | Spawn[Any] | None = None
    fail: Fail | None = None


class Program(Protocol):
    """A step function or a loop."""

    @property
    def name(self) -> str:
        """The function's name, for messages. `Agent.name` identifies a program in a database."""

    @property
    def default_name(self) -> str:
        """`module:function`: the default of `Agent.name`."""

    @property
    def code_at(self) -> str:
        """The file and line of the function."""

    @property
    def fingerprint(self) -> str:
        """A hash of the code."""

    @property
    def version(self) -> int:
        """The version of the states that this code writes."""

    def upgraded(self, text: str, version: int, what: str) -> str:
        """Convert a stored state of an older version to the current one."""

    def begin(self, initial: Any) -> str:
        """Return the first state, as JSON, for the value that a run is started with."""

    def read_input(self, text: str) -> Any:
        """Decode JSON that a person typed; the value is for `begin`."""

    def read_state(self, text: str, *, is_resumed: bool = False) -> Any:
        """Decode a stored state; with `is_resumed`, refuse one of which the code would lose a
        part.
        """

    def read_result(self, text: str) -> Any:
        """Decode a stored result."""

    async def advance(self, state: Any, context: RunContext) -> Advance:
        """Run one step."""
