"""The tool ledger: one row per managed call, written before the tool runs and after it.

A call is identified by its key: run, step, and the name and ordinal of the call or the caller's
key, but not the attempt. The rules:

1. No row: write `started`, run the tool, write `done` or `failed`.
2. A row with other arguments: raise `ToolCallMismatch`. The recorded result belongs to another
   call.
3. `done`: return the recorded payload. The tool does not run.
4. `failed`: raise the error again; if the failure is retryable, run the tool again with the same
   key.
5. `retry`: a person decided that a call in doubt is repeated; run the tool again with the same key.
6. `started` or `in_doubt`: an earlier attempt called the tool, and the outcome is unknown. The
   tool's `reconcile` may find it out; otherwise the tool's policy decides: run it again with its
   key, fail, or let the run wait for a decision. The same holds for a tool that raises
   `OutcomeUnknown`.

Before these rules, a call without a row passes the gate (see `_program/gate.py`): it may run, it
fails, or it needs an approval (see `_model/approvals.py`) and starts in a later attempt. A row
means that the call was allowed to start.

If the process dies or the run is stopped during a call, its row stays `started`: the call is in
doubt. If only the step cancels a call that must not be repeated, the call goes on and is recorded
(see `AttemptCalls.to_end`). Not covered: effects of a tool outside its managed calls, and a tool
that continues on its thread after its timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from loom_runner._driver.approval_requests import approval_request
from loom_runner._driver.payloads import arguments_text, earlier_text, failed_envelope, payload_text
from loom_runner._model.approvals import as_of
from loom_runner._model.error_text import message_of
from loom_runner._model.events import ObserverGroup, Observers, RunEvent
from loom_runner._model.records import Claim, ErrorInfo, ToolRecord
from loom_runner._model.retry import is_transient, retry_after_s
from loom_runner._model.tampering import tampered
from loom_runner._model.writes import ToolEnd, ToolStart
from loom_runner._program.gate import Ask, Deny, PendingCall, verdict_on
from loom_runner._program.threads import is_being_cancelled
from loom_runner._program.tool_calls import StepSuspended
from loom_runner._program.tools import Done, NotDone
from loom_runner.errors import (
    LeaseLost,
    OutcomeUnknown,
    PayloadTooLarge,
    StateError,
    StoreError,
    ToolCallMismatch,
    ToolFailed,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._model.clock import Clock
    from loom_runner._program.agent import Agent
    from loom_runner._program.gate import Verdict
    from loom_runner._program.tool_calls import Execute
    from loom_runner._program.tools import Tool
    from loom_runner._store.protocol import Store

__all__ = ["Ledger"]

_IN_DOUBT: Final = ErrorInfo(
    "ToolFailed", "the call was interrupted and its outcome is unknown; it was not repeated", "in_doubt"
)
_CANCELLED: Final = ErrorInfo("Cancelled", "the call was cancelled, because its attempt ended", "cancelled")


class Ledger:
    """The managed calls of one claimed run."""

    __slots__ = ("_claim", "_clock", "_gate", "_observers", "_redact", "_store", "_verify")

    def __init__(
        self, store: Store, claim: Claim, agent: Agent, *, clock: Clock, observers: Observers | ObserverGroup
    ) -> None:
        self._store = store
        self._observers = observers
        self._clock = clock
        self._gate = agent.gate
        self._verify = agent.verify_approval
        self._redact = agent.redact
        self._claim = claim

    async def call(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        *,
        step_index: int,
        attempt: int,
        key: str,
        execute: Execute,
    ) -> Any:
        """Run one managed call; return its payload (plain JSON)."""
        text = arguments_text(tool.name, arguments)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        start = ToolStart(step_index, key, tool.name, text, digest, self._clock.now_us())
        edited: dict[str, Any] | None = None
        approval: ApprovalRecord | None = None
        if self._gate is not None or tool.needs_approval:
            approval = await self._approval(tool, arguments, start, attempt)
            if approval is not None:
                if approval.edited is not None:
                    edited = json.loads(approval.edited)
                    start = replace(start, arguments=approval.edited)
                start = replace(start, approval=approval.number, verify=self._verify)
        try:
            record = await self._store.start_tool(self._claim, start)
        except PayloadTooLarge as exc:
            error = ErrorInfo("PayloadTooLarge", str(exc), "invalid_arguments")
            raise self._failure(start, error, retryable=False) from exc
        if record is not None:
            self._check(record, start, arguments)
            start = replace(start, ordinal=record.tries, arguments=record.arguments)
            if record.status == "done":
                self._notify("tool_finished", start, attempt, status="done", recorded=True, result=record.result)
                return json.loads(record.result or "null")
            payload = await self._resolve_recorded(record, tool, attempt, start)
            if payload is not None:
                return json.loads(payload)
            start = await self._restarted(start, record, approval)
        return await execute.to_end(self._run(tool, start, attempt, lambda: execute(edited)))

    async def _approval(
        self, tool: Tool, arguments: Mapping[str, Any], start: ToolStart, attempt: int
    ) -> ApprovalRecord | None:
        """Return the approval that allows a call to start; None if it needs none.

        Raises:
            ToolFailed: The call is denied, or the approval expired.
            StepSuspended: A decision is pending.
        """
        run_id, now = self._claim.run_id, start.at
        found = await self._store.approval_of(run_id, start.step_index, start.key)
        if found is None:
            if await self._store.tool_call(run_id, start.step_index, start.key) is not None:
                if self._verify is not None and isinstance(self._verdict(tool, arguments, start), Ask):
                    raise tampered(run_id, start, "the call is recorded, and its request is not")
                return None  # it was allowed to start in an earlier attempt
            verdict = self._verdict(tool, arguments, start)
            if isinstance(verdict, Deny):
                raise self._denial(start, attempt, "denied", verdict.note)
            if isinstance(verdict, Ask):
                raise StepSuspended(asks=(approval_request(run_id, start, verdict),))
            return None
        self._check(found, start, arguments)
        approval = as_of(found, now)
        if approval.status == "expired":
            if found.status != "expired":
                await self._store.update_approval(found, approval)
            raise self._denial(start, attempt, "approval_expired", "")
        if approval.status == "denied":
            raise self._denial(start, attempt, "denied", approval.note)
        if approval.status == "pending":
            raise StepSuspended(pending=(approval.number,))
        return approval

    def _verdict(self, tool: Tool, arguments: Mapping[str, Any], start: ToolStart) -> Verdict:
        call = PendingCall(self._claim.run_id, start.step_index, start.key, tool.name, tool, arguments)
        try:
            return verdict_on(self._gate, call)
        except (LeaseLost, StoreError) as exc:  # of another store: the gate is the user's code
            raise RuntimeError(f"the gate failed for {tool.name}: {type(exc).__name__}: {exc}") from exc

    def _denial(self, start: ToolStart, attempt: int, category: str, note: str) -> ToolFailed:
        message = note or ("the call was denied" if category == "denied" else "the approval request expired")
        error = ErrorInfo("ToolFailed", message, category)
        self._notify("tool_finished", start, attempt, status="failed", recorded=True, error=error)
        return ToolFailed(
            message,
            error_category=category,
            tool=start.name,
            run_id=self._claim.run_id,
            step_index=start.step_index,
        )

    async def _restarted(self, start: ToolStart, record: ToolRecord, approval: ApprovalRecord | None) -> ToolStart:
        """Start a recorded call once more: as the same call, or with the approval of a
        repetition.
        """
        if approval is not None and approval.status != "approved":
            if record.status == "retry" and approval.product is not None:
                raise tampered(self._claim.run_id, start, "nobody has approved to repeat the call")
            start = replace(start, approval=None)
        start = replace(start, ordinal=record.tries + 1, at=self._clock.now_us())
        await self._store.restart_tool(self._claim, start)
        return start

    def _check(self, record: ToolRecord | ApprovalRecord, start: ToolStart, arguments: Mapping[str, Any]) -> None:
        is_same = record.name == start.name and (
            record.arguments_hash == start.arguments_hash
            or earlier_text(record.arguments, arguments) == start.arguments  # written by a version before 0.7
        )
        if not is_same:
            raise ToolCallMismatch(
                f"cannot call {start.name} in step {start.step_index}: key {start.key!r} was used before with other "
                f"arguments (then {_short(record.arguments)}, now {_short(start.arguments)}). Derive arguments from "
                "the state only, or give the call its own key: idempotency_key=.",
                run_id=self._claim.run_id,
                step_index=start.step_index,
            )

    async def _resolve_recorded(self, record: ToolRecord, tool: Tool, attempt: int, start: ToolStart) -> str | None:
        """Decide about a row without a result: return its payload if that was found out, None if
        the tool may run.
        """
        if record.status == "retry":
            return None
        if record.status == "failed":
            if record.retryable:
                return None
            error = record.error
            self._notify("tool_finished", start, attempt, status="failed", recorded=True, error=error)
            raise self._failure(start, error or ErrorInfo("ToolFailed", "it failed before"), retryable=False)
        answer = await self._reconciled(record, tool)
        if isinstance(answer, NotDone):
            return None
        if isinstance(answer, Done):
            end = ToolEnd("done", self._clock.now_us(), result=payload_text(answer.result, tool, self._redact))
            if not await self._store.decide_tool(record, end, "reconcile"):
                raise StepSuspended(record.number)  # decided concurrently; the next attempt reads the decision
            self._notify("tool_finished", start, attempt, status="done", recorded=True, result=end.result)
            return end.result
        policy = tool.doubt_policy
        if policy == "ask":
            raise StepSuspended(record.number)
        if policy == "fail":
            end = ToolEnd("failed", start.at, error=_IN_DOUBT)
            if record.status == "started":
                await self._finish(start, attempt, end)
            else:  # an earlier attempt asked for a decision, with another policy
                await self._store.decide_tool(record, end, "on_doubt")
            raise self._failure(start, _IN_DOUBT, retryable=False)
        return None

    async def _reconciled(self, record: ToolRecord, tool: Tool) -> object:
        """Ask the tool whether an interrupted call took effect."""
        if tool.reconcile is None:
            return None
        key = f"{record.run_id}/{record.step_index}/{record.key}"
        try:
            answer = tool.reconcile(key, json.loads(record.arguments))
            return await answer if inspect.isawaitable(answer) else answer
        except Exception:
            logging.getLogger("loom_runner").warning("reconcile of tool %s failed", tool.name, exc_info=True)
            return None

    async def _run(
        self,
        tool: Tool,
        start: ToolStart,
        attempt: int,
        execute: Callable[[], Awaitable[Any]],
        *,
        is_repeat: bool = False,
    ) -> Any:
        self._notify("tool_started", start, attempt, arguments=start.arguments)
        limit = asyncio.timeout(tool.limit_s)
        cause: BaseException
        try:
            async with limit:
                value = await execute()
        except asyncio.CancelledError as exc:
            if is_being_cancelled():
                if tool.is_repeatable and tool.is_async:
                    end = ToolEnd("failed", self._clock.now_us(), error=_CANCELLED, retryable=True)
                    with contextlib.suppress(LeaseLost, StoreError):
                        await asyncio.shield(self._finish(start, attempt, end))
                raise
            error, retryable = ErrorInfo("CancelledError", "it awaited a task that was cancelled", "error"), False
            cause = exc
        except (StepSuspended, KeyboardInterrupt):
            raise
        except OutcomeUnknown as exc:
            return await self._outcome_unknown(tool, start, attempt, execute, exc, is_repeat=is_repeat)
        except ToolFailed as exc:
            error, retryable = ErrorInfo("ToolFailed", exc.message, exc.error_category), exc.retryable
            cause = exc
        except BaseException as exc:  # noqa: BLE001  (whatever a tool raises is its result)
            cause = exc
            if limit.expired():
                error = ErrorInfo("TimeoutError", f"no answer within {tool.limit_s:g} s", "timeout")
                retryable = tool.is_repeatable
            else:
                passing = is_transient(exc)
                error = ErrorInfo(type(exc).__name__, message_of(exc), "transient" if passing else "error")
                retryable = passing and tool.is_repeatable
        else:
            try:
                if (failed := failed_envelope(value, tool)) is not None:
                    raise failed
                text = payload_text(value, tool, self._redact)
            except ToolFailed as exc:
                error, retryable = ErrorInfo("ToolFailed", exc.message, exc.error_category), exc.retryable
                cause = exc
            except StateError as exc:
                message = f"it ran, but its result does not fit its hint: {exc}"
                error, retryable = ErrorInfo(type(exc).__name__, message, "bad_result"), False
                cause = exc
            except (TypeError, ValueError, RecursionError) as exc:
                message = f"it ran, but its result is not JSON ({exc})"
                error, retryable = ErrorInfo(type(exc).__name__, message, "bad_result"), False
                cause = exc
            else:
                try:
                    await self._finish(start, attempt, ToolEnd("done", self._clock.now_us(), result=text))
                    return json.loads(text)
                except PayloadTooLarge as exc:
                    message = f"it ran, but its result cannot be stored ({exc})"
                    error, retryable = ErrorInfo("PayloadTooLarge", message, "bad_result"), False
                    cause = exc
        if self._redact is not None:
            error = replace(error, message=str(self._redact(error.message)))
        await self._finish(start, attempt, ToolEnd("failed", self._clock.now_us(), error=error, retryable=retryable))
        after_s = retry_after_s(cause, self._clock.now_us())
        raise self._failure(start, error, retryable=retryable, after_s=after_s) from cause

    async def _outcome_unknown(
        self,
        tool: Tool,
        start: ToolStart,
        attempt: int,
        execute: Callable[[], Awaitable[Any]],
        exc: OutcomeUnknown,
        *,
        is_repeat: bool,
    ) -> Any:
        """Treat a call that raised `OutcomeUnknown` like one whose process died; repeat it at most
        once.
        """
        if is_repeat:
            await self._finish(start, attempt, ToolEnd("failed", self._clock.now_us(), error=_IN_DOUBT))
            raise self._failure(start, _IN_DOUBT, retryable=False) from exc
        record = await self._store.tool_call(self._claim.run_id, start.step_index, start.key)
        if record is None:
            raise AssertionError(start) from exc  # the call was recorded before it ran
        payload = await self._resolve_recorded(record, tool, attempt, start)
        if payload is not None:
            return json.loads(payload)
        return await self._run(
            tool, await self._restarted(replace(start, approval=None), record, None), attempt, execute, is_repeat=True
        )

    async def _finish(self, start: ToolStart, attempt: int, end: ToolEnd) -> None:
        await self._store.end_tool(self._claim, start.step_index, start.key, end)
        what = {"result": end.result} if end.status == "done" else {"error": end.error}
        self._notify("tool_finished", start, attempt, status=end.status, recorded=False, **what)

    def _failure(
        self, start: ToolStart, error: ErrorInfo, *, retryable: bool, after_s: float | None = None
    ) -> ToolFailed:
        return ToolFailed(
            f"tool {start.name} failed: {error.message or error.type}",
            error_category=error.category,
            retryable=retryable,
            retry_after_s=after_s,
            tool=start.name,
            run_id=self._claim.run_id,
            step_index=start.step_index,
        )

    def _notify(self, kind: Any, start: ToolStart, attempt: int, **data: Any) -> None:
        if self._observers:
            data |= {"key": start.key, "name": start.name, "try": start.ordinal}
            if kind == "tool_finished":
                data["duration_ms"] = (self._clock.now_us() - start.at) / 1000
            if data.get("error") is not None:
                data["error"] = data["error"].as_json()
            for name in ("arguments", "result"):
                if isinstance(data.get(name), str):
                    data[name] = json.loads(data[name])
            self._observers.notify(
                RunEvent(kind, self._claim.run_id, start.step_index, attempt, self._clock.now_us(), data)
            )


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
