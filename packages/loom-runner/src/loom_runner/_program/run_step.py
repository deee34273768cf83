"""Run one step of a program, as every engine does.

The engine creates the context, calls `run_step`, and records the returned outcome or the raised
error. Nothing here depends on where a run is stored.
"""

from __future__ import annotations

import asyncio
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.error_text import message_of
from loom_runner._program.context import set_current_run
from loom_runner._program.threads import is_being_cancelled
from loom_runner.errors import BudgetTimeUsedUp, OutcomeError, StateEncodeError, ToolFailed

if TYPE_CHECKING:
    from types import FrameType

    from loom_runner._program.context import RunContext
    from loom_runner._program.protocol import Advance, Program

__all__ = ["NO_LIMITS", "StepLimits", "blocking_step", "open_steps", "run_step"]

_PACKAGE: Final = Path(__file__).parents[1]
_STANDARD: Final = frozenset({Path(sysconfig.get_path("stdlib")), Path("<frozen importlib._bootstrap>")})


@dataclass(frozen=True, slots=True)
class StepLimits:
    """How long a step may take.

    Attributes:
        timeout_s: Seconds after which the attempt fails with `TimeoutError`.
        budget_s: Seconds that remain of the run's budget; after them the step is cancelled and not
            committed.
        budget_time_s: The budget's limit, for messages.
    """

    timeout_s: float | None = None
    budget_s: float | None = None
    budget_time_s: float | None = None


NO_LIMITS: Final = StepLimits()


async def run_step(program: Program, state: Any, context: RunContext, limits: StepLimits = NO_LIMITS) -> Advance:
    """Run one step, and wait for the tool calls that it started and did not await. The attempt ends
    when everything that it started has ended, also if it fails.

    Args:
        program: The step function or loop.
        state: The state, as a value.
        context: The context of this attempt.
        limits: How long the step may take.

    Returns:
        The outcome, which may be committed.

    Raises:
        StepSuspended: Calls of the step wait for decisions.
        BudgetTimeUsedUp: The budget's time is used up.
        LeaseLost: The engine stopped the context with this error, even if the step caught it.
        BaseException: Any error of the step.
    """
    set_current_run(context)
    try:
        if limits is NO_LIMITS:
            advance = await program.advance(state, context)
        else:
            advance = await _in_time(program, state, context, limits)
        if context.has_open_calls:
            await context.wait_for_calls()
        if context.stopped is not None:
            raise context.stopped
    except asyncio.CancelledError as exc:
        if is_being_cancelled():
            await context.end_calls(is_cancelled=True)
            raise
        await context.end_calls()
        if context.stopped is not None:
            raise context.stopped from exc
        raise RuntimeError(f"CancelledError: step {context.step_index} awaited a task that was cancelled") from exc
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        unawaited = await context.end_calls()
        if context.stopped is not None and context.stopped is not exc:
            raise context.stopped from exc
        if unawaited is not None and _may_be_of_a_coroutine(exc):
            raise unawaited from exc
        raise
    return advance


def _may_be_of_a_coroutine(error: BaseException) -> bool:
    """Return whether an error may come of the use of a coroutine as if it were its result."""
    if isinstance(error, ToolFailed):
        return error.error_category == "invalid_arguments"
    text = message_of(error)
    return isinstance(error, StateEncodeError | OutcomeError) or "coroutine" in text or "running event loop" in text


async def _in_time(program: Program, state: Any, context: RunContext, limits: StepLimits) -> Advance:
    limit_s = min(each for each in (limits.budget_s, limits.timeout_s) if each is not None)
    context.set_deadline_in(limit_s)
    timeout = asyncio.timeout(limit_s)
    try:
        async with timeout:
            return await program.advance(state, context)
    except TimeoutError as exc:
        if not timeout.expired():
            raise
        if limits.budget_s is not None and limit_s == limits.budget_s:
            raise BudgetTimeUsedUp(f"time_s {limits.budget_time_s:g}") from exc
        raise TimeoutError(f"step {context.step_index} took longer than {limit_s:g} s") from exc


def blocking_step(frame: FrameType | None) -> tuple[RunContext, str] | None:
    """Return the step that a thread executes, and the line of the caller's code that it is in
    (`agent.py:12`); None if it executes none.

    Args:
        frame: The innermost frame of the thread.
    """
    where = ""
    while frame is not None:
        if frame.f_code is run_step.__code__:
            return frame.f_locals["context"], where
        path = Path(frame.f_code.co_filename)
        if not where and _PACKAGE not in path.parents and not _STANDARD.intersection(path.parents):
            where = f"{path.name}:{frame.f_lineno} in {frame.f_code.co_name}"
        frame = frame.f_back
    return None


def open_steps(loop: asyncio.AbstractEventLoop) -> list[RunContext]:
    """Return the steps that tasks of a loop are in."""
    found = []
    for task in asyncio.all_tasks(loop):
        coroutine: Any = task.get_coro()
        while coroutine is not None:
            if getattr(coroutine, "cr_code", None) is run_step.__code__ and coroutine.cr_frame is not None:
                found.append(coroutine.cr_frame.f_locals["context"])
            coroutine = getattr(coroutine, "cr_await", None)
    return found
