"""The agent of the sweep: a few steps with sequential and concurrent calls, a failed attempt, and
counted effects.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loom_runner._engines.runner import AgentRunner
from loom_runner._model.outcomes import Child, Complete, Continue, Sleep, Spawn
from loom_runner._model.retry import RetryPolicy
from loom_runner._program.tools import Done, NotDone, OnDoubt, ToolRegistry
from loom_runner._store.sqlite.store import SQLiteStore
from loom_runner.errors import ToolFailed
from loom_runner.testing._clock import FakeClock
from loom_runner.testing._crash import crash_at
from loom_runner.testing._effects import EffectLog
from loom_runner.testing._kill_sweep import KillPoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._model.events import RunEvent
    from loom_runner._program.context import RunContext
    from loom_runner._store.sqlite.file import Durability

__all__ = ["EFFECT_POINTS", "RUN_ID", "STEPS", "Policy", "build", "drive", "receipt_of"]

RUN_ID = "sweep"
STEPS = 3
EFFECT_POINTS = ("tool.before_effect", "tool.after_effect", "step.begin", "step.end")
Policy = Literal["retry", "ask", "fail", "reconcile", "approve", "spawn"]
"""How a call in doubt is handled. With `approve` each call also waits for an approval first; with
`spawn` each call is run by a child, and the parent sleeps between its rounds."""


@dataclass(frozen=True)
class State:
    """The next step, and the receipts so far."""

    n: int
    receipts: list[str]


def receipt_of(n: int, part: int, bulk: int = 0) -> str:
    """Return the result of a charge, with `bulk` bytes of other text; one receipt is large enough
    for a blob.
    """
    count = 9_000 if bulk and (n, part) == (1, 0) else bulk // 8
    return f"receipt {n}.{part}" + "".join(f" {n * 7_919 + part * 104_729 + at:07x}" for at in range(count))


def build(
    folder: Path,
    policy: Policy,
    point: str | None = None,
    nth: int = 1,
    *,
    durability: Durability = "process",
    effect: Callable[[str], None] | None = None,
    listen: Callable[[RunEvent], None] | None = None,
    bulk: int = 0,
) -> AgentRunner:
    """Return the runner; with `point`, its process dies there at the `nth` time.

    Args:
        effect: Called with the key of every effect, instead of a line in `effects.txt`.
        listen: Called with every event, instead of lines in `acknowledged.txt`.
        bulk: The bytes of each receipt, so that states and payloads are stored like large ones.
    """
    effects, acknowledged = EffectLog(folder / "effects.txt"), EffectLog(folder / "acknowledged.txt")
    happen = effect or effects.add
    reach = KillPoint(point, nth)

    tools = ToolRegistry()

    async def charge(n: int, part: int, idempotency_key: str) -> str:
        reach("tool.before_effect")
        happen(idempotency_key)
        reach("tool.after_effect")
        await asyncio.sleep(0)
        return receipt_of(n, part, bulk)

    async def look(idempotency_key: str, arguments: dict[str, int]) -> Done | NotDone:
        happened = effects.count(idempotency_key) > 0
        return Done(receipt_of(arguments["n"], arguments["part"], bulk)) if happened else NotDone()

    on_doubt: OnDoubt = "ask" if policy == "ask" else "fail" if policy == "fail" else "retry"
    tools.tool(
        "charge",
        idempotent=on_doubt == "retry",
        on_doubt=on_doubt,
        needs_approval=policy == "approve",
        reconcile=look if policy == "reconcile" else None,
    )(charge)

    async def charged(ctx: RunContext, n: int, part: int) -> str:
        try:
            done: str = await ctx.call_tool("charge", n=n, part=part)
        except ToolFailed as failed:
            if failed.error_category != "in_doubt":
                raise
            return f"unknown {n}.{part}"
        return done

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[list[str]]:
        reach("step.begin")
        if state.n == STEPS:
            return Complete(state.receipts)
        first = await charged(ctx, state.n, 0)
        both = await asyncio.gather(*(charged(ctx, state.n, part) for part in (1, 2)))
        if state.n == 1 and ctx.attempt == 0:
            raise TimeoutError("the first attempt of step 1 fails, after its calls")
        reach("step.end")
        return Continue(State(state.n + 1, [*state.receipts, first, *both]))

    async def parent(state: State, ctx: RunContext) -> Spawn[State] | Sleep[State] | Complete[list[str]]:
        reach("step.begin")
        if ctx.children:
            receipts = [ctx.children[name].result for name in sorted(ctx.children)]
            return Sleep(State(state.n + 1, [*state.receipts, *receipts]), delay_s=0.001)
        if state.n == STEPS:
            return Complete(state.receipts)
        reach("step.end")
        made = [Child(f"{state.n}-{part}", {"n": state.n, "part": part}, program="charger") for part in range(3)]
        return Spawn(state, children=made)

    async def charger(state: dict[str, int], ctx: RunContext) -> Complete[str]:
        return Complete(await charged(ctx, state["n"], state["part"]))

    def note(event: RunEvent) -> None:
        # What was acknowledged to this process must be in the database from now on.
        if event.kind == "step_committed":
            acknowledged.add(f"step {event.run_id}/{event.step_index} {os.getpid()}")
        elif event.kind == "tool_finished" and not event.data["recorded"]:
            acknowledged.add(f"call {event.run_id}/{event.step_index}/{event.data['key']}")

    store = SQLiteStore(folder / "runs.sqlite", durability)
    wrapped = store if point is None or point in EFFECT_POINTS else crash_at(store, point, nth=nth)
    retry = RetryPolicy(max_attempts=2, initial_s=0)
    options: dict[str, Any] = {"tools": tools, "retry": retry, "store": wrapped, "clock": FakeClock()}
    if policy == "spawn":
        options["children"] = {"charger": AgentRunner(step=charger, **options)}
    return AgentRunner(step=parent if policy == "spawn" else step, observers=[listen or note], **options)


def drive(folder: str, policy: Policy, point: str | None, nth: int) -> None:
    """Start or resume the run, and drive it until it ends, waits or is killed. The main function of
    a process.
    """
    runner = build(Path(folder), policy, point, nth)
    asyncio.run(runner.start(run_id=RUN_ID, initial_state=State(0, []), wait_s=60))
    runner.close()


# ---------------------------------------------------------------------- for the command line


def build_runner(db_path: str, durability: Durability = "power") -> AgentRunner:
    """Return the runner for a database; its effects are written beside it."""
    return build(Path(db_path).parent, "retry", durability=durability, bulk=3_000)


def initial_state() -> State:
    """Return the initial state of a run."""
    return State(0, [])
