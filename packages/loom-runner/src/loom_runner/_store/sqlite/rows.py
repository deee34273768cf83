"""The conversion of rows to records. Only this module depends on the order of columns.

`get(cell, what)` decodes a cell (see `_store/cells.py`); `what` is its name in messages.
"""

# ruff: noqa: S608  (the f-strings join constants of this package)
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

from loom_runner._model.records import (
    AttemptRecord,
    ErrorInfo,
    LeaseRecord,
    Owner,
    RunRecord,
    SignalRecord,
    StepRecord,
    ToolRecord,
    ToolTry,
)
from loom_runner._model.waits import wait_from_json
from loom_runner.errors import StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._store.cells import Cell

__all__ = [
    "LEASE_LEFT_MS",
    "NOW_MS",
    "SELECT_ATTEMPT",
    "SELECT_LEASE",
    "SELECT_RUN",
    "SELECT_SIGNAL",
    "SELECT_STEP",
    "SELECT_STEP_BARE",
    "SELECT_TOOL",
    "SELECT_TRY",
    "to_attempt",
    "to_lease",
    "to_run",
    "to_signal",
    "to_step",
    "to_tool",
    "to_try",
]

T = TypeVar("T")
Row = tuple[Any, ...]

NOW_MS: Final = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
"""The time of the database's clock in milliseconds, which is used for leases."""

LEASE_LEFT_MS: Final = (
    f"CASE WHEN r.renewed_at <= {NOW_MS} + r.lease_ms THEN r.renewed_at + r.lease_ms - {NOW_MS} ELSE 0 END"
)
"""How long a lease still lasts. A lease that was renewed further in the future than its length has
expired: the clock was set back, and its holder has not renewed the lease since."""

SELECT_RUN: Final = f"""
    SELECT r.run_key, r.run_id, r.status, r.program, r.step_index, r.failures, r.crashes, r.due_at, r.state,
    r.input, r.result,
           r.error, r.wait, r.fence, r.renewed_at, l.machine, l.pid, l.process,
           {LEASE_LEFT_MS}, r.created_at, r.updated_at,
           (SELECT p.run_id FROM runs p WHERE p.run_key = r.parent_key), r.forked_from, r.budget, r.spent_tokens,
           r.spent_cost_usd, r.work_us, r.request, r.state_version, r.ready_at, l.code_at, l.module
    FROM runs r LEFT JOIN leases l ON l.run_key = r.run_key AND l.fence = r.fence
"""
SELECT_TOOL: Final = f"""
    SELECT t.ordinal, r.run_id, t.step_index, t.key, t.name, t.arguments, t.arguments_hash, t.status, t.tries,
    t.result, t.error,
           t.retryable, t.started_at, t.ended_at, t.fence,
           t.fence = r.fence AND r.renewed_at IS NOT NULL AND {LEASE_LEFT_MS} > 0, t.decided_by,
           l.machine, l.pid, l.process,
           coalesce(l.ended_at, CASE WHEN l.fence = r.fence THEN r.renewed_at * 1000 END)
    FROM tool_calls t JOIN runs r ON r.run_key = t.run_key JOIN leases l ON l.run_key = t.run_key AND l.fence = t.fence
"""
SELECT_TRY: Final = """
    SELECT t.ordinal, y.try, y.status, y.started_at, y.ended_at, y.fence, y.error
    FROM tool_tries y JOIN tool_calls t ON t.number = y.number
"""
_STEP: Final = "SELECT run_key, step_index, outcome, {}, detail, attempts, started_at, ended_at, fence FROM steps"
SELECT_STEP: Final = _STEP.format("state")
SELECT_STEP_BARE: Final = _STEP.format("NULL")
SELECT_ATTEMPT: Final = "SELECT step_index, attempt, kind, started_at, ended_at, error, retry_at, fence FROM attempts"
SELECT_LEASE: Final = (
    "SELECT fence, machine, pid, process, code, code_at, first_step, taken_at, ended_at, ended_as, note,"
    " module, state_version FROM leases"
)
SELECT_SIGNAL: Final = "SELECT signal_key, name, payload, sent_at, taken_in_step FROM signals"


def to_run(row: Row, get: Callable[[Cell, str], str]) -> RunRecord:
    (key, run_id, status, program, step_index, failures, crashes, due_at, state, given, result, error, wait, fence) = (
        row[:14]
    )
    (renewed_at, machine, pid, process, left_ms, created_at, updated_at) = row[14:21]
    (parent, forked_from, budget, spent_tokens, spent_cost_usd, work_us, request, state_version) = row[21:29]
    (ready_at, code_at, module) = row[29:]
    return RunRecord(
        run_key=key,
        run_id=run_id,
        status=status,
        program=program,
        step_index=step_index,
        failures=failures,
        crashes=crashes,
        due_at=due_at,
        state=_text(state, get, "the state of run", run_id),
        input=_text(given, get, "the input of run", run_id),
        result=_text(result, get, "the result of run", run_id),
        error=_error(error, get, "the error of run", run_id),
        wait=None if wait is None else _parsed(wait, wait_from_json, "the wait of run", run_id),
        fence=fence,
        owner=None if renewed_at is None else Owner(machine, pid, process),
        lease_left_s=0.0 if left_ms is None else left_ms / 1000,
        created_at=created_at,
        updated_at=updated_at,
        parent_run_id=parent,
        forked_from=None if forked_from is None else _parsed(forked_from, _object, "the origin of run", run_id),
        budget=None if budget is None else _parsed(budget, _object, "the budget of run", run_id),
        spent_tokens=spent_tokens,
        spent_cost_usd=spent_cost_usd,
        work_us=work_us,
        request=request,
        state_version=state_version,
        ready_at=ready_at,
        code_at=code_at,
        module=module,
        renewed_at=None if renewed_at is None else renewed_at * 1000,
    )


def to_tool(row: Row, get: Callable[[Cell, str], str], payload: Callable[[Cell, str], str]) -> ToolRecord:
    (number, run_id, step_index, key, name, arguments, arguments_hash, status, tries, result, error) = row[:11]
    (retryable, started_at, ended_at, fence, is_live, decided_by, machine, pid, process, alive_until) = row[11:]
    return ToolRecord(
        number=number,
        run_id=run_id,
        step_index=step_index,
        key=key,
        name=name,
        arguments=_text(arguments, payload, "the arguments of tool call", number),
        arguments_hash=_text(arguments_hash, get, "the arguments' hash of tool call", number),
        status=status,
        tries=tries,
        result=_text(result, payload, "the result of tool call", number),
        error=_error(error, get, "the error of tool call", number),
        retryable=bool(retryable),
        started_at=started_at,
        ended_at=ended_at,
        fence=fence,
        is_live=bool(is_live),
        decided_by=decided_by,
        owner=Owner(machine, pid, process),
        alive_until=alive_until,
    )


def to_try(row: Row, get: Callable[[Cell, str], str]) -> ToolTry:
    number, ordinal, status, started_at, ended_at, fence, error = row
    info = _error(error, get, "the error of a try of tool call", number)
    return ToolTry(number, ordinal, status, started_at, ended_at, fence, info)


def to_step(row: Row, state: str | None) -> StepRecord:
    """`state` is the decoded cell of the row; decoding may need earlier rows (see
    `_store/history.py`).
    """
    _, step_index, outcome, _, detail, attempts, started_at, ended_at, fence = row
    wait = None if detail is None else _parsed(detail, wait_from_json, "the wait of step", step_index)
    return StepRecord(step_index, outcome, state, wait, attempts, started_at, ended_at, fence)


def to_attempt(row: Row, get: Callable[[Cell, str], str]) -> AttemptRecord:
    step_index, attempt, kind, started_at, ended_at, error, retry_at, fence = row
    what = "the error of an attempt of step"
    info = _parsed(_text(error, get, what, step_index), _error_info, what, step_index)
    return AttemptRecord(step_index, attempt, kind, started_at, ended_at, info, retry_at, fence)


def to_lease(row: Row, get: Callable[[Cell, str], str]) -> LeaseRecord:
    fence, machine, pid, process, code, code_at, first_step, taken_at, ended_at, ended_as, note, module, version = row
    owner = Owner(machine, pid, process)
    text = _text(note, get, "the note of lease", fence)
    return LeaseRecord(fence, owner, code, code_at, first_step, taken_at, ended_at, ended_as, text, module, version)


def to_signal(row: Row, get: Callable[[Cell, str], str]) -> SignalRecord:
    key, name, stored, sent_at, taken_in_step = row
    payload = _text(stored, get, "the payload of signal", name)
    return SignalRecord(key, name, payload, sent_at, taken_in_step)


def _text(cell: Cell | None, get: Callable[[Cell, str], str], what: str, of: object) -> Any:
    return cell if cell is None or isinstance(cell, str) else get(cell, f"{what} {of}")


def _error(cell: Cell | None, get: Callable[[Cell, str], str], what: str, of: object) -> ErrorInfo | None:
    text = _text(cell, get, what, of)
    return None if text is None else _parsed(text, _error_info, what, of)


def _error_info(text: str) -> ErrorInfo:
    return ErrorInfo.from_json(json.loads(text))


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(f"not a JSON object: {text:.40}")
    return found


def _parsed(text: str, parse: Callable[[str], T], what: str, of: object) -> T:
    """Parse JSON that this package wrote.

    Raises:
        StoreDamaged: It is something else.
    """
    try:
        return parse(text)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise StoreDamaged(
            f"cannot read {what} {of}: it is damaged ({type(exc).__name__}: {exc}). See loom-runner verify, or "
            "restore a copy."
        ) from exc
