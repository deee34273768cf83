"""The verifier: runs the checks while the executor works, can stop it, and confirms the result.

It measures with its own tool calls and ignores the reports of the executor. A check that passed in
its first round and fails in two rounds in a row afterwards stops the executor (a signal), which
then rolls back. While the executor waits for a person, the verifier waits, too, durably, without
keeping a process alive; the executor's signal `look` ends that wait when the executor resumes and
when it has ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from loom_runner import Complete, Continue, RunContext, Wait

from loom_ops._runbook.model import Check
from loom_ops._runbook.render import call_arguments, render_step
from loom_ops._team.states import VerifierState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["LOOK_SIGNAL", "verifier_step"]

ROUND_S: Final = 1.0
MAX_WAIT_S: Final = 60.0
MAX_FAILURES: Final = 2
LOOK_SIGNAL: Final = "look"
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "parked"})
_WORKING: Final = frozenset({"created", "running", "interrupted"})

_Result = Continue[VerifierState] | Wait[VerifierState] | Complete[dict[str, Any]]


def verifier_step(
    status_of: Callable[[str], str], stop: Callable[[str], Awaitable[None]], *, round_s: float = ROUND_S
) -> Callable[[VerifierState, RunContext], Coroutine[Any, Any, _Result]]:
    """Return the verifier's step.

    Args:
        status_of: Returns the status of a run.
        stop: Signals a run to stop.
        round_s: Seconds between two rounds while the executor works.
    """

    async def verify(state: VerifierState, ctx: RunContext) -> _Result:  # the name is stored
        status = status_of(state.executor)  # first: the results are then newer than what was done
        reports = [await ctx.call_tool("check", **_arguments(state, check)) for check in state.request.checks]
        passed = tuple(report["id"] for report in reports if report["ok"])
        held = passed if state.rounds == 0 else state.held
        is_worse = any(check not in passed for check in held)
        state = replace(
            state,
            rounds=state.rounds + 1,
            held=held,
            failures=state.failures + 1 if is_worse else 0,
            last=tuple(reports),
        )
        if status in _ENDED:
            return Complete(
                {
                    "ok": len(passed) == len(reports),
                    "rounds": state.rounds,
                    "checks": reports,
                    "stopped": state.stopped,
                }
            )
        if state.failures >= MAX_FAILURES and not state.stopped:
            await stop(state.executor)
            state = replace(state, stopped=True)
        if status in _WORKING:
            await asyncio.sleep(round_s)
            return Continue(state)
        return Wait(state, signal=LOOK_SIGNAL, timeout_s=MAX_WAIT_S)

    return verify


def _arguments(state: VerifierState, check: Check) -> dict[str, Any]:
    rendered = render_step(check, state.request.values())
    assert isinstance(rendered, Check)
    return call_arguments(rendered)
