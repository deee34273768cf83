"""What a person or a program tells a run from outside: a signal, and how a call in doubt ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loom_runner._model.clock import Clock, SystemClock
from loom_runner._model.records import ErrorInfo, ToolEnd
from loom_runner._program.codec import to_plain_json
from loom_runner._store.doubts import read_tool_calls
from loom_runner._store.lookup import find_run
from loom_runner.errors import UnknownToolCall, UsageError

if TYPE_CHECKING:
    from loom_runner._store.protocol import Store

__all__ = ["resolve_call", "send_signal"]


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
    """Decide about a tool call in doubt. The run goes on by `resume`.

    Args:
        how: `retry` runs the tool once more with the same key; `skip` lets the call fail with the category `skipped`;
            `result` records `result` (plain JSON) as its payload.

    Raises:
        UnknownRun: There is no such run.
        UnknownToolCall: The run has no such call, or it is not in doubt.

    Durability: the decision is committed when this returns, and cannot be changed.
    """
    find_run(store, run_id, "resolve a call of")
    now = (clock or SystemClock()).now_us()
    if how == "retry":
        end = ToolEnd("retry", None)
    elif how == "skip":
        error = ErrorInfo("ToolFailed", f"the interrupted call was skipped by {decided_by}", "skipped")
        end = ToolEnd("failed", now, error=error)
    else:
        end = ToolEnd("done", now, result=to_plain_json(result, f"the result of {run_id}#{number}"))
    doubts = {call.number: call for call in read_tool_calls(store, run_id, in_doubt=True)}
    if number not in doubts or not await store.decide_tool(doubts[number], end, decided_by):
        others = ", ".join(f"{run_id}#{other}" for other in doubts if other != number)
        raise UnknownToolCall(
            f"cannot resolve {run_id}#{number}: no such call is in doubt. In doubt: {others or 'none'}.", run_id=run_id
        )


async def send_signal(store: Store, run_id: str, name: str, payload: Any, clock: Clock | None = None) -> None:
    """Leave a signal for a run that has not ended."""
    record = find_run(store, run_id, "signal")
    if record.status in ("completed", "cancelled"):
        raise UsageError(f"cannot signal {run_id!r}: it is {record.status}, which takes no signals.", run_id=run_id)
    if not name or not name.isprintable():
        raise UsageError(f"cannot signal {run_id!r}: {name!r} is not a name.", run_id=run_id)
    text = to_plain_json(payload, f"the payload of signal {name!r}")
    await store.send_signal(run_id, name, text, (clock or SystemClock()).now_us())
