"""What may be asked of a run from outside, by anybody who has the database: cancel, pause, fork, and numbers.

Cancelling takes the lease away: a process that works on the run can write nothing more, hears it from the heartbeat or
from its next write (the next transition, the next tool call), and stops the step. Pausing asks: the process that works
on the run commits its step and then leaves it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from loom_runner._model.clock import SystemClock, from_iso
from loom_runner._model.records import ErrorInfo, NewRun
from loom_runner._model.statuses import CANCELLABLE, move
from loom_runner._store.lookup import check_run_id, find_run
from loom_runner.errors import RunExists, UnknownStep, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._model.clock import Clock
    from loom_runner._model.records import RunRecord
    from loom_runner._store.protocol import Store

__all__ = ["cancel_run", "fork_run", "merged", "pause_run", "read_children", "read_stats"]


async def cancel_run(
    store: Store, run_id: str, *, by: str = "a person", note: str = "", clock: Clock | None = None
) -> list[str]:
    """Cancel a run and its children, and theirs. What has ended before stays as it is.

    Returns:
        The ids of the runs that were cancelled.

    Raises:
        UnknownRun: There is no such run.
        IllegalMove: It has ended, or failed.

    Durability: committed when this returns; nothing is committed of the runs after that.
    """
    record = find_run(store, run_id, "cancel")
    move(record.status, "cancel", run_id=run_id)
    message = f"cancelled by {by}" + (f": {note}" if note else "")
    error = ErrorInfo("Cancelled", message, "cancelled")
    return await store.cancel_runs(run_id, CANCELLABLE, error, (clock or SystemClock()).now_us())


async def pause_run(store: Store, run_id: str, *, clock: Clock | None = None) -> list[str]:
    """Let a run pause after the step that it is in, and its children after theirs; `resume` goes on.

    Returns:
        The ids of the runs that will pause, or have been.

    Raises:
        UnknownRun: There is no such run.
        IllegalMove: Neither it nor a child of it runs, or is about to.
    """
    record = find_run(store, run_id, "pause")
    asked = await store.ask_to_pause(run_id, (clock or SystemClock()).now_us())
    if not asked:
        move(record.status, "pause", run_id=run_id)
    return asked


async def fork_run(
    store: Store,
    run_id: str,
    step: int,
    *,
    new_run_id: str | None = None,
    patch: Any = None,
    check: Callable[[str, int], object] | None = None,
    clock: Clock | None = None,
) -> str:
    """Make a new run that begins after a committed step of another one; `resume` goes on with it.

    Args:
        step: The step after which the new run begins; its checkpoint is the state.
        new_run_id: Its name; `<run>-fork-<n>` when not given.
        patch: A JSON merge patch (RFC 7396) on the state: objects are merged, null removes a member.
        check: Called with the patched state and its version; raises when it is not one.

    Returns:
        The id of the new run. It waits for what the step waited for, if it did.

    Raises:
        UnknownRun, UnknownStep: There is no such run, or step, or its checkpoint was pruned.
        RunExists: The name is taken.
        UsageError: The step ended the run, so nothing comes after it.
    """
    record = find_run(store, run_id, "fork")
    if step < 0 or step >= record.step_index:
        last = f"The last one is {record.step_index - 1}." if record.step_index else "It has none yet."
        raise UnknownStep(
            f"cannot fork {run_id!r} after step {step}: there is no such committed step. {last}",
            run_id=run_id,
            step_index=step,
        )
    (row,) = store.steps(run_id, first=step, limit=1, states=False) or (None,)
    if row is not None and row.step_index == step and row.outcome == "complete":
        raise UsageError(
            f"cannot fork {run_id!r} after step {step}: that step ended the run. Fork after step {step - 1}.",
            run_id=run_id,
            step_index=step,
        )
    text = store.state_after(run_id, step)
    if patch is not None:
        text = json.dumps(merged(json.loads(text), patch), ensure_ascii=False, separators=(",", ":"))
    version = record.state_version
    wait = None
    if row is not None and row.step_index == step:
        wait = row.detail
        version = next((each.state_version for each in store.leases(run_id) if each.fence == row.fence), version)
    if check is not None:
        check(text, version)
    until = None if wait is None else wait.get("until")
    now = (clock or SystemClock()).now_us()
    origin = json.dumps({"run_id": run_id, "step_index": step})
    names = [new_run_id] if new_run_id is not None else [f"{run_id}-fork-{number}" for number in range(1, 1000)]
    for name in names:
        check_run_id(name, "fork to")
        new = NewRun(
            name,
            record.program,
            record.input,
            text,
            now,
            None if record.budget is None else json.dumps(record.budget),
            version,
            step + 1,
            origin,
            wait,
            None if until is None else from_iso(until),
        )
        if await store.fork_run(new):
            return name
    raise RunExists(f"cannot fork {run_id!r} to {names[0]!r}: the name is taken. Choose another one.", run_id=run_id)


def merged(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch.

    Source: RFC 7396, section 2.
    """
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def read_children(store: Store, run_id: str) -> list[RunRecord]:
    """Read the runs that a run has started.

    Raises:
        UnknownRun: There is no such run.
    """
    find_run(store, run_id, "show the children of")
    return store.children(run_id)


def read_stats(store: Store) -> dict[str, Any]:
    """Count runs, tool calls and approvals by status."""
    return store.counts()
