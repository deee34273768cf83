"""Durable transitions on SQLite: checkpoint, resume and explain long-running Python agents.

A *run* is a row with a current state. A *step* takes the state, runs your code and ends in one outcome, which is
committed in one transaction together with everything that happened in it::

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        page = await ctx.call_tool("fetch", url=state.url)  # never repeated once its result is on record
        ...

    runner = AgentRunner(step=step, store=SQLiteStore("runs.sqlite"), tools=tools)
    result = await runner.start(run_id="demo", initial_state=State(...), max_steps=5)
    result = await runner.resume(run_id="demo")  # in this process, or in another one after a crash
    print(runner.explain_run("demo"))

`AgentRunner(loop=agent_loop, ...)` drives a `@tailrec` function of `loom` in the same way: every tail call is a
checkpoint.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loom_runner._budget import Budget
    from loom_runner._children import ChildResult as ChildResult
    from loom_runner._clock import RetryPolicy
    from loom_runner._context import RunContext, current_run
    from loom_runner._context import Signal as Signal
    from loom_runner._errors import (
        LeaseLost,
        OutcomeUnknown,
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
    from loom_runner._gate import Allow, Ask, Deny, PendingCall
    from loom_runner._gate import Gate as Gate
    from loom_runner._gate import Verdict as Verdict
    from loom_runner._keys import KeyRing
    from loom_runner._outcomes import Child, Complete, Continue, Fail, Sleep, Spawn, Wait
    from loom_runner._result import RunResult
    from loom_runner._runner import AgentRunner
    from loom_runner._sqlite import SQLiteStore
    from loom_runner._sqlite_events import EventLog, LoggedEvent
    from loom_runner._sqlite_file import Durability as Durability
    from loom_runner._store import Store
    from loom_runner._tools import Done, NotDone, Tool, ToolRegistry, tool
    from loom_runner._worker import Worker

__all__ = [
    "AgentRunner",
    "Allow",
    "Ask",
    "Budget",
    "Child",
    "Complete",
    "Continue",
    "Deny",
    "Done",
    "EventLog",
    "Fail",
    "KeyRing",
    "LeaseLost",
    "LoggedEvent",
    "NotDone",
    "OutcomeUnknown",
    "PendingCall",
    "RetryPolicy",
    "RunBusy",
    "RunContext",
    "RunEvent",
    "RunResult",
    "RunnerError",
    "SQLiteStore",
    "Sleep",
    "Spawn",
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
    "Worker",
    "current_run",
    "tool",
]

_HOME = {
    "AgentRunner": "_runner",
    "Allow": "_gate",
    "Ask": "_gate",
    "Budget": "_budget",
    "Child": "_outcomes",
    "Complete": "_outcomes",
    "Continue": "_outcomes",
    "Deny": "_gate",
    "Done": "_tools",
    "EventLog": "_sqlite_events",
    "Fail": "_outcomes",
    "KeyRing": "_keys",
    "LeaseLost": "_errors",
    "LoggedEvent": "_sqlite_events",
    "NotDone": "_tools",
    "OutcomeUnknown": "_errors",
    "PendingCall": "_gate",
    "RetryPolicy": "_clock",
    "RunBusy": "_errors",
    "RunContext": "_context",
    "RunEvent": "_events",
    "RunResult": "_result",
    "RunnerError": "_errors",
    "SQLiteStore": "_sqlite",
    "Sleep": "_outcomes",
    "Spawn": "_outcomes",
    "StateError": "_errors",
    "Store": "_store",
    "StoreError": "_errors",
    "Tool": "_tools",
    "ToolCallMismatch": "_errors",
    "ToolFailed": "_errors",
    "ToolRegistry": "_tools",
    "UnknownRun": "_errors",
    "UsageError": "_errors",
    "Wait": "_outcomes",
    "Worker": "_worker",
    "current_run": "_context",
    "tool": "_tools",
}
"""The module in which each public name lives. It is loaded when the name is first asked for, so that `--help` of a
command loads neither SQLite nor asyncio."""


_HINTED = {
    "ChildResult": "_children",
    "Durability": "_sqlite_file",
    "Gate": "_gate",
    "Signal": "_context",
    "Verdict": "_gate",
}
"""Likewise types that no program makes or catches, but that a hint may name."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOME.get(name) or _HINTED.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
