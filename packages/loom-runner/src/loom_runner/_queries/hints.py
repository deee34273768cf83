"""What a run waits for, in words, and the commands that are useful now. `explain`, `run` and `watch` say it alike."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loom_runner._model.clock import to_iso
from loom_runner._model.formatting import plural, shorten
from loom_runner._model.processes import is_gone
from loom_runner._model.waits import ChildrenWait, DecisionWait, SignalWait, TimerWait
from loom_runner._store.in_doubt import read_tool_calls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loom_runner._model.records import RunRecord, ToolRecord
    from loom_runner._store.protocol import StoreReader

__all__ = ["clock_time", "module_of", "next_commands", "open_calls", "page_name", "waits_for"]


def module_of(reader: StoreReader, run_id: str) -> str | None:
    """The module that drove a run last, as its caller named it; of a child or a fork, perhaps that of its origin."""
    seen: set[str] = set()
    name: str | None = run_id
    while name is not None and name not in seen:
        seen.add(name)
        module = next((lease.module for lease in reversed(reader.leases(name)) if lease.module), None)
        if module is not None:
            return module
        run = reader.get_run(name)
        name = None if run is None else run.parent_run_id or (run.forked_from or {}).get("run_id")
    return None


def open_calls(reader: StoreReader, run_id: str) -> list[ToolRecord]:
    """The calls of a run that are in doubt."""
    return read_tool_calls(reader, run_id, in_doubt=True)


def waits_for(run: RunRecord, doubts: Sequence[ToolRecord]) -> str | None:
    """Say what a waiting run waits for; None when it does not wait."""
    if run.status != "waiting":
        return None
    match run.wait:
        case SignalWait(signal=name, until=until):
            return f"signal {name!r}{_until(until)}"
        case TimerWait(until=until):
            return f"the time{_until(until)}"
        case ChildrenWait(children=children, needed=needed):
            return f"{needed} of its children {', '.join(children)}"
        case DecisionWait():
            return ", and ".join(_decisions(run, run.wait, doubts))
        case None:
            return "the time"


def _decisions(run: RunRecord, wait: DecisionWait, doubts: Sequence[ToolRecord]) -> Iterator[str]:
    if wait.doubt is not None:
        doubt = next((call for call in doubts if call.number == wait.doubt), None)
        name = f"{run.run_id}#{wait.doubt}"
        if doubt is None:
            yield f"nothing more: {name} was decided"
        else:
            what = f"{doubt.name} {shorten(doubt.arguments, 80)}"
            yield f"a decision about {name}: {what} was interrupted in step {run.step_index}"
    if wait.approvals:
        names = ", ".join(f"{run.run_id}#{number}" for number in wait.approvals)
        yield f"{plural(len(wait.approvals), 'approval')} ({names}){_until(wait.until)}"


def _until(at: int | None) -> str:
    return "" if at is None else f" until {clock_time(to_iso(at))}"


def next_commands(
    run: RunRecord, doubts: Sequence[ToolRecord], *, command: str, module: str, database: str
) -> dict[str, str]:
    """The commands that are useful now, most useful first.

    Args:
        command: The program that they begin with.
        module: The agent's module, for `resume`.
        database: The file; nothing is said of the usual one.
    """
    db = "" if database == "runs.sqlite" else f" --db {shlex.quote(database)}"
    run_id = shlex.quote(run.run_id)
    wait = run.wait
    go_on = {"go on": f"{command} resume {shlex.quote(module)} --run-id {run_id}{db}"}
    if run.status == "waiting":
        if isinstance(wait, DecisionWait) and any(call.number == wait.doubt for call in doubts):
            call_id = shlex.quote(f"{run.run_id}#{wait.doubt}")
            return {"decide": f"{command} resolve {call_id} --retry | --skip | --result JSON{db}"}
        if isinstance(wait, DecisionWait) and wait.approvals:
            return {"decide": f"{command} approvals {run_id}{db}"}
        if isinstance(wait, SignalWait):
            return {"signal": f"{command} signal {shlex.quote(wait.signal)} --run-id {run_id} --payload JSON{db}"}
    if run.status == "completed":
        return {"see it": f"{command} trace --run-id {run_id} --html {shlex.quote(page_name(run.run_id))}{db}"}
    if run.status == "paused" and run.error is not None and run.error.category == "limit":
        return {"go on": f"{go_on['go on']} --budget {_limit_of(run.error.message)}=N"}
    is_held = run.is_leased and run.owner is not None and not is_gone(run.owner)
    if is_held:
        return {"watch": f"{command} watch {run_id}{db}"}
    return {} if run.status == "cancelled" else go_on


def _limit_of(message: str) -> str:
    """The first limit that a message of a used-up budget names."""
    return next((name for name in ("steps", "tokens", "cost_usd", "time_s") if name in message), "steps")


def page_name(run_id: str) -> str:
    """How a run's page is called when nobody says it."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in run_id) + ".html"


def clock_time(at: str | None) -> str:
    """The local time of day, with the date when it is not today's."""
    if at is None:
        return ""
    local = datetime.fromisoformat(at).astimezone()
    is_today = local.date() == datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")
