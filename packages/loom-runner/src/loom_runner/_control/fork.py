"""Fork a run: create one that begins after a committed step of another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from loom_runner._model.arguments import check_type
from loom_runner._model.clock import SystemClock
from loom_runner._model.waits import SignalWait, TimerWait
from loom_runner._model.writes import NewRun
from loom_runner._program.plain_json import to_plain_json
from loom_runner._store.lookup import find_run
from loom_runner.errors import RunExists, StateDecodeError, UnknownStep, UsageError
from loom_runner.run_ids import check_new_run_id, check_run_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._model.clock import Clock
    from loom_runner._model.waits import WaitFor
    from loom_runner._store.protocol import Store

__all__ = ["fork_run", "merged"]


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
    """Create a run that begins after a committed step of another one; `resume` drives it.

    Args:
        step: The step after which the new run begins; its checkpoint is the state.
        new_run_id: Its id; by default `<run>-fork-<n>`.
        patch: A JSON merge patch (RFC 7396) on the state: objects are merged, null removes a
            member.
        check: Called with the patched state and its version; raises if the state is not valid.
            Without it nothing is checked, and a run with a wrong state cannot be resumed.

    Returns:
        The id of the new run. If the step began a wait, the new run begins with the same wait.

    Raises:
        UnknownRun, UnknownStep: There is no such run or step, or its checkpoint was pruned.
        RunExists: The id is taken.
        UsageError: The step ended the run, so nothing comes after it; or an argument is not valid.
        StateEncodeError: The patch is not plain JSON.
    """
    check_type(f"fork {run_id!r}", "step", step, int, "a whole number")
    if new_run_id is not None:
        check_new_run_id(new_run_id, "fork to")
    record = await find_run(store, run_id, "fork")
    if step < 0 or step >= record.step_index:
        last = f"The last one is {record.step_index - 1}." if record.step_index else "It has none yet."
        raise UnknownStep(
            f"cannot fork {run_id!r} after step {step}: there is no such committed step. {last}",
            run_id=run_id,
            step_index=step,
        )
    (row,) = store.reader.steps(run_id, first=step, limit=1, states=False) or (None,)
    if row is not None and row.step_index == step and row.outcome == "complete":
        raise UsageError(
            f"cannot fork {run_id!r} after step {step}: that step ended the run. Fork after step {step - 1}.",
            run_id=run_id,
            step_index=step,
        )
    text = before = store.reader.state_after(run_id, step)
    if patch is not None:
        change = json.loads(to_plain_json(patch, f"the patch of {run_id!r}"))
        text = json.dumps(merged(json.loads(text), change), ensure_ascii=False, separators=(",", ":"))
    version = record.state_version
    wait = None
    if row is not None and row.step_index == step:
        wait = row.wait
        version = next((each.state_version for each in store.reader.leases(run_id) if each.fence == row.fence), version)
    if check is not None:
        check(before, version)
        try:
            check(text, version)
        except StateDecodeError as exc:
            raise StateDecodeError(
                f"cannot fork {run_id!r} after step {step}: the patched state does not fit its type "
                f"({exc.misfit or exc}). Correct the patch.",
                run_id=run_id,
                step_index=step,
                raw=text,
                misfit=exc.misfit,
            ) from exc
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
            _due_at(wait),
        )
        if await store.add_run(new):
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


def _due_at(wait: WaitFor | None) -> int | None:
    return wait.until if isinstance(wait, SignalWait | TimerWait) else None
