"""Text about what a run waits for, and the commands that are useful next, for `explain`, `run` and
`watch`.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loom_runner._model.clock import to_iso
from loom_runner._model.formatting import plural, shorten
from loom_runner._model.products import product_of, resume_with_product
from loom_runner._model.waits import ChildrenWait, DecisionWait, RetryWait, SignalWait, TimerWait
from loom_runner._queries.liveness import is_interrupted
from loom_runner._store.in_doubt import read_tool_calls
from loom_runner.run_ids import call_id, request_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from loom_runner._model.records import RunRecord, ToolRecord
    from loom_runner._store.protocol import StoreReader

__all__ = ["clock_time", "decided_requests", "module_of", "next_commands", "open_calls", "page_name", "waits_for"]


_SHOWN_CHILDREN = 10


def module_of(reader: StoreReader, run: str | RunRecord) -> str | None:
    """Return the agent module that drove a run last, as its user named it; None if none is
    recorded.

    A child or a fork that was never driven has the module of its parent or origin.
    """
    seen: set[str] = set()
    record = reader.get_run(run) if isinstance(run, str) else run
    while record is not None and record.run_id not in seen:
        seen.add(record.run_id)
        module = record.module or reader.last_module(record.run_id)
        if module is not None:
            return module
        above = record.parent_run_id or (record.forked_from or {}).get("run_id")
        record = None if above is None else reader.get_run(above)
    return None


def open_calls(reader: StoreReader, run_id: str) -> list[ToolRecord]:
    """Return the calls of a run that are in doubt."""
    return read_tool_calls(reader, run_id, in_doubt=True)


def decided_requests(reader: StoreReader, run: RunRecord) -> frozenset[int]:
    """Return the numbers of the requests of a run's wait that are decided already."""
    if not isinstance(run.wait, DecisionWait) or not run.wait.approvals:
        return frozenset()
    return frozenset(each.number for each in reader.approvals(run.run_id) if each.status != "pending")


def waits_for(run: RunRecord, doubts: Sequence[ToolRecord], decided: Collection[int] = ()) -> str | None:
    """Return what a waiting run waits for; None if it does not wait.

    Args:
        doubts: Its calls in doubt.
        decided: The numbers of its requests that are decided already.
    """
    if run.status != "waiting":
        return None
    match run.wait:
        case SignalWait(signal=name, until=until):
            return f"signal {name!r}{_until(until)}"
        case TimerWait(until=until):
            return f"the time{_until(until)}"
        case RetryWait(attempt=attempt, until=until):
            return f"attempt {attempt} of step {run.step_index}{_until(until, 'at')}"
        case ChildrenWait(children=children, needed=needed):
            more = f", and {len(children) - _SHOWN_CHILDREN:,} more" if len(children) > _SHOWN_CHILDREN else ""
            return f"{needed} of its children {', '.join(children[:_SHOWN_CHILDREN])}{more}"
        case DecisionWait():
            return ", and ".join(_decisions(run, run.wait, doubts, decided))
        case None:
            return "the time"


def _decisions(
    run: RunRecord, wait: DecisionWait, doubts: Sequence[ToolRecord], decided: Collection[int]
) -> Iterator[str]:
    if wait.doubt is not None:
        doubt = next((call for call in doubts if call.number == wait.doubt), None)
        name = call_id(run.run_id, wait.doubt)
        if doubt is None:
            yield f"nothing: {name} was decided"
        else:
            what = f"{doubt.name} {shorten(doubt.arguments, 80)}"
            yield f"a decision about {name}: {what} was interrupted in step {run.step_index}"
    pending = [number for number in wait.approvals if number not in decided]
    if pending:
        names = ", ".join(request_id(run.run_id, number) for number in pending)
        yield f"{plural(len(pending), 'approval')} ({names}){_until(wait.until)}"
    elif wait.approvals:
        yield "nothing: every approval was decided"


def _until(at: int | None, word: str = "until") -> str:
    return "" if at is None else f" {word} {clock_time(to_iso(at))}"


def next_commands(
    run: RunRecord,
    doubts: Sequence[ToolRecord],
    *,
    command: str,
    module: str,
    database: str,
    decided: Collection[int] = (),
) -> dict[str, str]:
    """Return the commands that are useful next, by label, the most useful first.

    Args:
        command: The program that they begin with.
        module: The agent's module, for `resume`.
        database: The file; the default one is omitted.
        decided: The numbers of the run's requests that are decided already.
    """
    db = "" if database == "runs.sqlite" else f" --db {shlex.quote(database)}"
    run_id = shlex.quote(run.run_id)
    wait = run.wait
    resume = f"{command} resume {shlex.quote(module)} --run-id {run_id}{db}"
    product = product_of(run.program)
    if product is not None and command != product:
        resume = resume_with_product(product, run.run_id, database)
    if run.status == "waiting":
        if isinstance(wait, DecisionWait) and any(call.number == wait.doubt for call in doubts):
            call = shlex.quote(call_id(run.run_id, wait.doubt or 0))
            return {"decide": f"{command} resolve {call} --retry | --skip | --result JSON{db}"}
        if isinstance(wait, DecisionWait) and any(number not in decided for number in wait.approvals):
            return {"decide": f"{command} approvals {run_id}{db}"}
        if isinstance(wait, SignalWait):
            return {"signal": f"{command} signal {shlex.quote(wait.signal)} --run-id {run_id} --payload JSON{db}"}
    if run.status == "completed":
        return {"trace": f"{command} trace --run-id {run_id} --html {shlex.quote(page_name(run.run_id))}{db}"}
    if run.status == "paused" and run.error is not None and run.error.category == "limit":
        return {"resume": f"{resume} --budget {_limit_of(run.error.message)}=N"}
    is_held = run.status == "running" and not is_interrupted(run)
    if is_held:
        return {"watch": f"{command} watch {run_id}{db}"}
    return {} if run.status == "cancelled" else {"resume": resume}


def _limit_of(message: str) -> str:
    """Return the first limit that the message of a used-up budget names."""
    return next((name for name in ("steps", "tokens", "cost_usd", "time_s") if name in message), "steps")


def page_name(run_id: str) -> str:
    """Return the default file name of a run's trace page."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in run_id) + ".html"


def clock_time(at: str | None) -> str:
    """Format a time (ISO 8601) as local time of day, with the date unless it is today."""
    if at is None:
        return ""
    local = datetime.fromisoformat(at).astimezone()
    is_today = local.date() == datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")
