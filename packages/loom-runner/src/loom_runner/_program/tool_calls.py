"""What a step context needs of an engine: the managed tool calls of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Mapping, Sequence

    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._program.tools import Tool

__all__ = ["Execute", "StepSuspended", "ToolCalls"]

T = TypeVar("T")


class Execute(Protocol):
    """Runs the tool's function for one call."""

    def __call__(self, edited: Mapping[str, Any] | None, /) -> Awaitable[Any]:
        """Run it with the arguments of an edited approval, or None for those of the step."""

    def to_end(self, execution: Coroutine[Any, Any, T], /) -> Awaitable[T]:
        """Await what an engine does from the recorded start of the call to its recorded end. If the
        call must not be repeated, this goes on when the step cancels the call.
        """


class ToolCalls(Protocol):
    """The managed tool calls of one run: a ledger in the store, or that of another engine."""

    async def call(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        *,
        step_index: int,
        attempt: int,
        key: str,
        execute: Execute,
    ) -> Any:
        """Call a tool unless its result is recorded; return the payload (plain JSON).

        Raises:
            StepSuspended: The call needs a decision first; the attempt is abandoned.
            ToolFailed, ToolCallMismatch: See `RunContext.call_tool`.
        """


class StepSuspended(BaseException):
    """Calls of the step wait for decisions; the attempt is abandoned.

    Not an `Exception`, so that an `except Exception` in the step does not handle it as a failed
    tool.

    Args:
        doubt: The call whose outcome is unknown.
        asks: New approval requests, without numbers.
        pending: The numbers of requests that are not decided.
    """

    def __init__(
        self, doubt: int | None = None, *, asks: tuple[ApprovalRecord, ...] = (), pending: tuple[int, ...] = ()
    ) -> None:
        super().__init__("the step waits for decisions")
        self.doubt = doubt
        self.asks = asks
        self.pending = pending

    @classmethod
    def merged(cls, suspended: Sequence[StepSuspended]) -> StepSuspended:
        """Combine several into one."""
        return cls(
            min((each.doubt for each in suspended if each.doubt is not None), default=None),
            asks=tuple(ask for each in suspended for ask in each.asks),
            pending=tuple(number for each in suspended for number in each.pending),
        )
