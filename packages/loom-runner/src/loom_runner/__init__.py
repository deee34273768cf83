"""Durable transitions on SQLite: checkpoint, resume and explain long-running Python agents.

A *run* is a row with a current state. A *step* takes the state, runs your code and ends in one outcome, which is
committed in one transaction together with everything that happened in it::

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        page = await ctx.call_tool("fetch", url=state.url)      # recorded; never repeated once its result is on
        record ...

    runner = AgentRunner(step=step, store=SQLiteStore("runs.sqlite"), tools=tools)
    result = await runner.start(run_id="demo", initial_state=State(...), max_steps=5)
    result = await runner.resume(run_id="demo")                  # in this process or in another one, after a crash
    or not print(runner.explain_run("demo"))

`AgentRunner(loop=agent_loop, ...)` drives a `@tailrec` function of `loom` in the same way: every tail call is a
checkpoint.
"""

from loom_runner._clock import RetryPolicy
from loom_runner._context import RunContext, Signal, current_run
from loom_runner._driver import RunResult
from loom_runner._errors import (
    LeaseLost,
    RunBusy,
    RunnerError,
    StateError,
    StoreError,
    ToolCallMismatch,
    ToolFailed,
    UnknownRun,
    UsageError,
)
from loom_runner._events import RunEvent
from loom_runner._outcomes import Complete, Continue, Fail, Wait
from loom_runner._runner import AgentRunner
from loom_runner._sqlite import SQLiteStore
from loom_runner._sqlite_file import Durability
from loom_runner._store import Store
from loom_runner._tools import Tool, ToolRegistry, tool

__all__ = [
    "AgentRunner",
    "Complete",
    "Continue",
    "Durability",
    "Fail",
    "LeaseLost",
    "RetryPolicy",
    "RunBusy",
    "RunContext",
    "RunEvent",
    "RunResult",
    "RunnerError",
    "SQLiteStore",
    "Signal",
    "StateError",
    "Store",
    "StoreError",
    "Tool",
    "ToolCallMismatch",
    "ToolFailed",
    "ToolRegistry",
    "UnknownRun",
    "UsageError",
    "Wait",
    "current_run",
    "tool",
]
