"""Decide about a tool call in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loom_runner._control.authority import also_of, refuse_without_product, sign_of
from loom_runner._model.approvals import ApprovalRecord, Decision, as_of, with_decision
from loom_runner._model.arguments import check_type
from loom_runner._model.clock import Clock, SystemClock
from loom_runner._model.records import ErrorInfo
from loom_runner._model.writes import ToolEnd
from loom_runner._program.plain_json import to_plain_json
from loom_runner._store.in_doubt import read_tool_calls
from loom_runner._store.lookup import find_run
from loom_runner.errors import UnknownToolCall, UsageError
from loom_runner.run_ids import call_id, request_id

if TYPE_CHECKING:
    from loom_runner._control.authority import Authority
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
    via: str = "",
    authority: Authority | None = None,
) -> None:
    """Decide about a tool call in doubt; `resume` then continues the run.

    Args:
        how: `retry` runs the tool again with the same key; `skip` lets the call fail with the
            category `skipped`; `result` records `result` (plain JSON) as its payload. If the call
            needed the approval of a product's people, `retry` is the approval of one of them, and
            the call runs again when as many have approved it as before.
        authority: The product that decides; only it may resolve calls with its policy.

    Raises:
        UnknownRun: There is no such run.
        UnknownToolCall: The run has no such call, or it is not in doubt.
        UsageError: `how` is none of these, or an argument is not of its type; or the call has a
            product's policy, whose command is named; or others have decided at the same time.

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
    if number in doubts:
        request = await store.approval_of(run_id, doubts[number].step_index, doubts[number].key)
        if request is not None and request.product is not None:
            what = f"cannot resolve {call_id(run_id, number)}"
            refuse_without_product(request, what, authority, store.address)
            if how == "retry":
                await _propose_repetition(
                    store, as_of(request, now), Decision(decided_by, "retry", now, via), authority
                )
                return
    if number not in doubts or not await store.decide_tool(doubts[number], end, decided_by):
        others = ", ".join(call_id(run_id, other) for other in doubts if other != number)
        raise UnknownToolCall(
            f"cannot resolve {run_id}#{number}: no such call is in doubt. In doubt: {others or 'none'}.", run_id=run_id
        )


async def _propose_repetition(
    store: Store, request: ApprovalRecord, decision: Decision, authority: Authority | None
) -> None:
    name = request_id(request.run_id, request.number)
    what = f"cannot repeat {request.name} in {request.run_id!r}"
    if request.status != "used":
        raise UsageError(
            f"{what}: its request {name} is {request.status}; decide about that first.", run_id=request.run_id
        )
    after = with_decision(request, decision, sign=sign_of(authority, request))
    if not await store.update_approval(request, after, also=also_of(authority, after)):
        raise UsageError(f"{what}: others have decided at the same time. Try again.", run_id=request.run_id)
