"""The verifier: watches the checks while the executor works, can stop it, and says at the end whether it helped.

It looks at the world itself, with its own calls; it never believes the executor. A check that held at its first look
and fails twice in a row afterwards stops the executor (a signal), which then takes back what it did. While the
executor waits for a person the verifier waits, too, durably, and does not keep a process alive; the executor's signal
`look` ends that, when it goes on and when it has ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from loom_runner import Complete, Continue, RunContext, Wait

from loom_ops._render import rendered, step_json
from loom_ops._states import Verifying

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["LOOK_SIGNAL", "verifier_step"]

ROUND_S: Final = 1.0
REST_S: Final = 60.0
LOOK_SIGNAL: Final = "look"
_SETTLED: Final = frozenset({"completed", "failed", "cancelled", "parked"})
_AT_WORK: Final = frozenset({"created", "running"})

_Result = Continue[Verifying] | Wait[Verifying] | Complete[dict[str, Any]]


def verifier_step(
    status_of: Callable[[str], str], stop: Callable[[str], Awaitable[None]], *, round_s: float = ROUND_S
) -> Callable[[Verifying, RunContext], Coroutine[Any, Any, _Result]]:
    """Return the verifier's step.

    Args:
        status_of: Tells the status of a run.
        stop: Asks a run to stop.
        round_s: How long to wait between two looks while the executor works.
    """

    async def verify(state: Verifying, ctx: RunContext) -> _Result:
        before = status_of(state.executor)  # before the look: what is seen is then newer than what was done
        reports = [await ctx.call_tool("check", **step_json(_rendered(state, check))) for check in state.request.checks]
        ok = tuple(report["id"] for report in reports if report["ok"])
        held = ok if state.rounds == 0 else state.held
        worse = state.rounds > 0 and any(check not in ok for check in held)
        state = replace(
            state,
            rounds=state.rounds + 1,
            held=held,
            failures=state.failures + 1 if worse else 0,
            last=tuple(reports),
        )
        if before in _SETTLED:
            return Complete(
                {"ok": len(ok) == len(reports), "rounds": state.rounds, "checks": reports, "stopped": state.stopped}
            )
        if state.failures >= 2 and not state.stopped:
            await stop(state.executor)
            state = replace(state, stopped=True)
        if before in _AT_WORK:
            await asyncio.sleep(round_s)
            return Continue(state)
        return Wait(state, signal=LOOK_SIGNAL, timeout_s=REST_S)

    return verify


def _rendered(state: Verifying, check: Any) -> Any:
    return rendered(check, state.request.values())
