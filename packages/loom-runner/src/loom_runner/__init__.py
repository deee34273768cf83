"""Durable transitions on SQLite: checkpoint, resume and explain long-running Python agents.

A *run* is a row with a current state. A *step* takes the state, runs your code and ends in one
outcome, which is committed in one transaction together with everything that happened in it::

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
        page = await ctx.call_tool("fetch", url=state.url)  # not repeated once its result is recorded
        return Complete(len(page))

    runner = AgentRunner(step=step, store=SQLiteStore("runs.sqlite"), tools=tools)
    result = await runner.start(run_id="demo", initial_state=State("page"), max_steps=5)
    result = await runner.resume(run_id="demo")  # in this process, or in another after a crash
    print(runner.explain_run("demo"))

`AgentRunner(loop=agent_loop, ...)` drives a `@tailrec` function of `loom` in the same way: every
tail call is a checkpoint.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loom_runner._control.authority import Authority as Authority
    from loom_runner._driver.worker import Worker
    from loom_runner._engines.local import LocalEngine
    from loom_runner._engines.protocol import Engine
    from loom_runner._engines.runner import AgentRunner
    from loom_runner._model.budget import Budget
    from loom_runner._model.events import RunEvent
    from loom_runner._model.outcomes import Child, Complete, Continue, Fail, Sleep, Spawn, Wait
    from loom_runner._model.results import ChildResult as ChildResult
    from loom_runner._model.results import RunResult
    from loom_runner._model.retry import RetryPolicy
    from loom_runner._program.agent import Agent
    from loom_runner._program.context import RunContext, current_run
    from loom_runner._program.gate import Allow, Ask, Deny, PendingCall
    from loom_runner._program.gate import Gate as Gate
    from loom_runner._program.gate import Verdict as Verdict
    from loom_runner._program.managed_function import tool
    from loom_runner._program.running_run import Signal as Signal
    from loom_runner._program.tools import Done, NotDone, Tool, ToolRegistry
    from loom_runner._queries.runs import Runs
    from loom_runner._store.encryption_keys import KeyRing
    from loom_runner._store.open import open_store
    from loom_runner._store.protocol import Store
    from loom_runner._store.sqlite.event_log import EventLog
    from loom_runner._store.sqlite.file import Durability as Durability
    from loom_runner._store.sqlite.store import SQLiteStore
    from loom_runner.errors import (
        OutcomeUnknown,
        RunBusy,
        RunnerError,
        StoreError,
        ToolFailed,
        UnknownRun,
        UsageError,
    )

__all__ = [
    "Agent",
    "AgentRunner",
    "Allow",
    "Ask",
    "Budget",
    "Child",
    "Complete",
    "Continue",
    "Deny",
    "Done",
    "Engine",
    "EventLog",
    "Fail",
    "KeyRing",
    "LocalEngine",
    "NotDone",
    "OutcomeUnknown",
    "PendingCall",
    "RetryPolicy",
    "RunBusy",
    "RunContext",
    "RunEvent",
    "RunResult",
    "RunnerError",
    "Runs",
    "SQLiteStore",
    "Sleep",
    "Spawn",
    "Store",
    "StoreError",
    "Tool",
    "ToolFailed",
    "ToolRegistry",
    "UnknownRun",
    "UsageError",
    "Wait",
    "Worker",
    "current_run",
    "open_store",
    "tool",
]

_HOME = {
    "Agent": "_program.agent",
    "AgentRunner": "_engines.runner",
    "Allow": "_program.gate",
    "Ask": "_program.gate",
    "Budget": "_model.budget",
    "Child": "_model.outcomes",
    "Complete": "_model.outcomes",
    "Continue": "_model.outcomes",
    "Deny": "_program.gate",
    "Done": "_program.tools",
    "Engine": "_engines.protocol",
    "EventLog": "_store.sqlite.event_log",
    "Fail": "_model.outcomes",
    "KeyRing": "_store.encryption_keys",
    "LocalEngine": "_engines.local",
    "NotDone": "_program.tools",
    "OutcomeUnknown": "errors",
    "PendingCall": "_program.gate",
    "RetryPolicy": "_model.retry",
    "RunBusy": "errors",
    "RunContext": "_program.context",
    "RunEvent": "_model.events",
    "RunResult": "_model.results",
    "RunnerError": "errors",
    "Runs": "_queries.runs",
    "SQLiteStore": "_store.sqlite.store",
    "Sleep": "_model.outcomes",
    "Spawn": "_model.outcomes",
    "Store": "_store.protocol",
    "StoreError": "errors",
    "Tool": "_program.tools",
    "ToolFailed": "errors",
    "ToolRegistry": "_program.tools",
    "UnknownRun": "errors",
    "UsageError": "errors",
    "Wait": "_model.outcomes",
    "Worker": "_driver.worker",
    "current_run": "_program.context",
    "open_store": "_store.open",
    "tool": "_program.managed_function",
}
"""The module that defines each public name. It is imported at the first access to the name, so that
`--help` of a command loads neither SQLite nor asyncio."""


_TYPES = {
    "Authority": "_control.authority",
    "ChildResult": "_model.results",
    "Durability": "_store.sqlite.file",
    "Gate": "_program.gate",
    "Signal": "_program.running_run",
    "Verdict": "_program.gate",
}
"""The same for what products use, and for types that programs only name in hints."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOME.get(name) or _TYPES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
