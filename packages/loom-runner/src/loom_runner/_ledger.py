"""The tool ledger: one row per managed call, written before the tool runs and after it.

The rules, for a call that comes to the ledger with a key (run, step, name and ordinal, or the caller's own; never
the attempt):

1. No row: write `started`, run the tool, write `done` or `failed`.
2. A row with other arguments: `ToolCallMismatch`. The recorded answer belongs to another question.
3. `done`: give back the recorded payload. The tool does not run.
4. `failed`: raise it again, or, when the failure is retryable, run the tool once more under the same key.
5. `retry`: a person answered a doubt this way; run the tool once more under the same key.
6. `started` or `in_doubt`: an attempt before this one called the tool and nobody knows how it ended. By the tool's
   policy: run it again with its key, fail, or park the run and ask.

A row is left at `started` on purpose when the process dies or the step is cancelled in the middle: that *is* the
doubt. Not covered: what a tool does without the ledger's knowledge, and a timed-out tool that goes on working on
its thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loom_runner._clock import Clock, is_transient
from loom_runner._errors import LeaseLost, StoreError, ToolCallMismatch, ToolFailed
from loom_runner._events import Observers, RunEvent
from loom_runner._records import Claim, ErrorInfo, ToolEnd, ToolRecord, ToolStart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from loom_runner._store import Store
    from loom_runner._tools import Tool

__all__ = ["Ledger", "StepParked", "arguments_text"]


class StepParked(BaseException):
    """A call in doubt waits for a person; the attempt is abandoned.

    Not an `Exception`, so that a step's own `except Exception` does not take it for a failed tool and go on.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"tool call {number} is in doubt")
        self.number = number


class Ledger:
    """The managed calls of one claimed run."""

    __slots__ = ("_claim", "_clock", "_observers", "_store")

    def __init__(self, store: Store, claim: Claim, observers: Observers, clock: Clock) -> None:
        self._store = store
        self._claim = claim
        self._observers = observers
        self._clock = clock

    async def call(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        *,
        step_index: int,
        attempt: int,
        key: str,
        execute: Callable[[], Awaitable[Any]],
    ) -> Any:
        """Make one managed call and return its payload (plain JSON)."""
        text = arguments_text(tool.name, arguments)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        start = ToolStart(step_index, key, tool.name, text, digest, self._clock.now_us())
        record = await self._store.start_tool(self._claim, start)
        if record is not None:
            self._check(record, start)
            start = replace(start, ordinal=record.tries)
            if record.status == "done":
                self._tell("tool_finished", start, attempt, status="done", recorded=True, result=record.result)
                return json.loads(record.result or "null")
            await self._settle_old(record, tool, attempt, start)
            start = replace(start, ordinal=record.tries + 1)
            await self._store.restart_tool(self._claim, start)
        self._tell("tool_started", start, attempt, arguments=text)
        return await self._run(tool, start, attempt, execute)

    def _check(self, record: ToolRecord, start: ToolStart) -> None:
        if record.name != start.name or record.arguments_hash != start.arguments_hash:
            raise ToolCallMismatch(
                f"cannot call {start.name} in step {start.step_index}: key {start.key!r} was used before with other "
                f"arguments (then {_short(record.arguments)}, now {_short(start.arguments)}). Derive arguments from "
                "the state only, or give the call its own key with _key=.",
                run_id=self._claim.run_id,
                step_index=start.step_index,
            )

    async def _settle_old(self, record: ToolRecord, tool: Tool, attempt: int, start: ToolStart) -> None:
        """Decide about a row without a result: return when the tool may run (again), raise otherwise."""
        if record.status == "retry":
            return
        if record.status == "failed":
            if record.retryable:
                return
            error = record.error
            self._tell("tool_finished", start, attempt, status="failed", recorded=True, error=error)
            raise self._failure(start, error or ErrorInfo("ToolFailed", "it failed before"), retryable=False)
        policy = tool.doubt_policy
        if policy == "ask":
            raise StepParked(record.number)
        if policy == "fail":
            error = ErrorInfo(
                "ToolFailed", "the call was interrupted and its outcome is unknown; it was not repeated", "in_doubt"
            )
            await self._finish(start, attempt, ToolEnd("failed", start.at, error=error))
            raise self._failure(start, error, retryable=False)

    async def _run(self, tool: Tool, start: ToolStart, attempt: int, execute: Callable[[], Awaitable[Any]]) -> Any:
        limit = asyncio.timeout(tool.timeout_s)
        cause: BaseException
        try:
            async with limit:
                value = await execute()
        except (LeaseLost, StoreError):
            raise
        except ToolFailed as exc:
            error, retryable = ErrorInfo("ToolFailed", exc.message, exc.error_category), exc.retryable
            cause = exc
        except Exception as exc:  # noqa: BLE001  (whatever a tool raises is its result)
            cause = exc
            if limit.expired():
                error = ErrorInfo("TimeoutError", f"no answer within {tool.timeout_s:g} s", "timeout")
                retryable = tool.is_repeatable
            else:
                passing = is_transient(exc)
                error = ErrorInfo(type(exc).__name__, str(exc), "transient" if passing else "error")
                retryable = passing and tool.is_repeatable
        else:
            try:
                text = _payload_text(value)
            except (TypeError, ValueError, RecursionError) as exc:
                message = f"it ran, but returned what JSON cannot hold ({exc})"
                error, retryable = ErrorInfo(type(exc).__name__, message, "bad_result"), False
                cause = exc
            else:
                await self._finish(start, attempt, ToolEnd("done", self._clock.now_us(), result=text))
                return json.loads(text)
        await self._finish(start, attempt, ToolEnd("failed", self._clock.now_us(), error=error, retryable=retryable))
        raise self._failure(start, error, retryable=retryable) from cause

    async def _finish(self, start: ToolStart, attempt: int, end: ToolEnd) -> None:
        await self._store.end_tool(self._claim, start.step_index, start.key, end)
        what = {"result": end.result} if end.status == "done" else {"error": end.error}
        self._tell("tool_finished", start, attempt, status=end.status, recorded=False, **what)

    def _failure(self, start: ToolStart, error: ErrorInfo, *, retryable: bool) -> ToolFailed:
        return ToolFailed(
            f"tool {start.name} failed: {error.message or error.type}",
            error_category=error.category,
            retryable=retryable,
            tool=start.name,
            run_id=self._claim.run_id,
            step_index=start.step_index,
        )

    def _tell(self, kind: Any, start: ToolStart, attempt: int, **data: Any) -> None:
        if self._observers:
            data |= {"key": start.key, "name": start.name, "try": start.ordinal}
            if kind == "tool_finished":
                data["duration_ms"] = (self._clock.now_us() - start.at) / 1000
            if data.get("error") is not None:
                data["error"] = data["error"].as_json()
            for name in ("arguments", "result"):
                if isinstance(data.get(name), str):
                    data[name] = json.loads(data[name])
            self._observers.tell(
                RunEvent(kind, self._claim.run_id, start.step_index, attempt, self._clock.now_us(), data)
            )


def arguments_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Write arguments in the one way that their hash is taken from.

    Raises:
        ToolFailed: With the category `invalid_arguments`.
    """
    try:
        return json.dumps(arguments, default=_jsonable, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ToolFailed(
            f"cannot call {name}: its arguments cannot be written as JSON ({exc}).",
            error_category="invalid_arguments",
            tool=name,
        ) from exc


def _payload_text(value: Any) -> str:
    return json.dumps(value, default=_jsonable, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _jsonable(value: Any) -> Any:
    """Write models, dataclasses, dates and the like as JSON; an object that is none of these is an error."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python  # noqa: PLC0415  (kept out of `--help`)

    try:
        return to_jsonable_python(value)
    except PydanticSerializationError as exc:
        raise TypeError(f"a {type(value).__name__} is not JSON") from exc


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
