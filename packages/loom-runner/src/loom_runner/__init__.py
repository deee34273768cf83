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
    from loom_runner._driver.children import ChildResult as ChildResult
    from loom_runner._driver.worker import Worker
    from loom_runner._engines.runner import AgentRunner
    from loom_runner._model.budget import Budget
    from loom_runner._model.events import RunEvent
    from loom_runner._model.outcomes import Child, Complete, Continue, Fail, Sleep, Spawn, Wait
    from loom_runner._model.result import RunResult
    from loom_runner._model.retry import RetryPolicy
    from loom_runner._program.context import RunContext, current_run
    from loom_runner._program.context import Signal as Signal
    from loom_runner._program.gate import Allow, Ask, Deny, PendingCall
    from loom_runner._program.gate import Gate as Gate
    from loom_runner._program.gate import Verdict as Verdict
    from loom_runner._program.managed import tool
    from loom_runner._program.tools import Done, NotDone, Tool, ToolRegistry
    from loom_runner._store.keys import KeyRing
    from loom_runner._store.protocol import Store
    from loom_runner._store.sqlite.event_log import EventLog, LoggedEvent
    from loom_runner._store.sqlite.file import Durability as Durability
    from loom_runner._store.sqlite.store import SQLiteStore
    from loom_runner.errors import (
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
    "AgentRunner": "_engines.runner",
    "Allow": "_program.gate",
    "Ask": "_program.gate",
    "Budget": "_model.budget",
    "Child": "_model.outcomes",
    "Complete": "_model.outcomes",
    "Continue": "_model.outcomes",
    "Deny": "_program.gate",
    "Done": "_program.tools",
    "EventLog": "_store.sqlite.event_log",
    "Fail": "_model.outcomes",
    "KeyRing": "_store.keys",
    "LeaseLost": "errors",
    "LoggedEvent": "_store.sqlite.event_log",
    "NotDone": "_program.tools",
    "OutcomeUnknown": "errors",
    "PendingCall": "_program.gate",
    "RetryPolicy": "_model.retry",
    "RunBusy": "errors",
    "RunContext": "_program.context",
    "RunEvent": "_model.events",
    "RunResult": "_model.result",
    "RunnerError": "errors",
    "SQLiteStore": "_store.sqlite.store",
    "Sleep": "_model.outcomes",
    "Spawn": "_model.outcomes",
    "StateError": "errors",
    "Store": "_store.protocol",
    "StoreError": "errors",
    "Tool": "_program.tools",
    "ToolCallMismatch": "errors",
    "ToolFailed": "errors",
    "ToolRegistry": "_program.tools",
    "UnknownRun": "errors",
    "UsageError": "errors",
    "Wait": "_model.outcomes",
    "Worker": "_driver.worker",
    "current_run": "_program.context",
    "tool": "_program.managed",
}
"""The module in which each public name lives. It is loaded when the name is first asked for, so that `--help` of a
command loads neither SQLite nor asyncio."""


_HINTED = {
    "ChildResult": "_driver.children",
    "Durability": "_store.sqlite.file",
    "Gate": "_program.gate",
    "Signal": "_program.context",
    "Verdict": "_program.gate",
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
