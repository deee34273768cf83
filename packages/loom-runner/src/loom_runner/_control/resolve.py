"""Decide about a tool call in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loom_runner._model.arguments import check_type
from loom_runner._model.clock import Clock, SystemClock
from loom_runner._model.records import ErrorInfo
from loom_runner._model.writes import ToolEnd
from loom_runner._program.plain_json import to_plain_json
from loom_runner._store.in_doubt import read_tool_calls
from loom_runner._store.lookup import find_run
from loom_runner.errors import UnknownToolCall, UsageError

if TYPE_CHECKING:
    from loom_runner._store.protocol import Store

__all__ = ["resolve_call"]


async def resolve_call(
    store: Store,
    run_id: str,
    number: int,
    how: Literal["retry", "skip", "result"],
    *,
    result: Any = None,
    decided_by: str = "a person",
    clock: Clock | None = None,
) -> None:
    """Decide about a tool call in doubt; `resume` then continues the run.

    Args:
        how: `retry` runs the tool again with the same key; `skip` lets the call fail with the
            category `skipped`; `result` records `result` (plain JSON) as its payload.

    Raises:
        UnknownRun: There is no such run.
        UnknownToolCall: The run has no such call, or it is not in doubt.
        UsageError: `how` is none of these, or an argument is not of its type.

    Durability: The decision is committed when this returns, and cannot be changed.
    """
    verb = f"resolve a call of {run_id!r}"
    if how not in ("retry", "skip", "result"):
        raise UsageError(f"cannot {verb} with {how!r}: it is retry, skip or result.", run_id=run_id)
    check_type(verb, "the number of the call", number, int, "a whole number")
    check_type(verb, "decided_by", decided_by, str, "a string")
    await find_run(store, run_id, "resolve a call of")
    now = (clock or SystemClock()).now_us()
    if how == "retry":
        end = ToolEnd("retry", None)
    elif how == "skip":
        error = ErrorInfo("ToolFailed", f"the interrupted call was skipped by {decided_by}", "skipped")
        end = ToolEnd("failed", now, error=error)
    else:
        end = ToolEnd("done", now, result=to_plain_json(result, f"the result of {run_id}#{number}"))
    doubts = {call.number: call for call in read_tool_calls(store.reader, run_id, in_doubt=True)}
    if number not in doubts or not await store.decide_tool(doubts[number], end, decided_by):
        others = ", ".join(f"{run_id}#{other}" for other in doubts if other != number)
        raise UnknownToolCall(
            f"cannot resolve {run_id}#{number}: no such call is in doubt. In doubt: {others or 'none'}.", run_id=run_id
        )
