"""Whether the current code can read the stored values of a run."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from loom_runner._queries.views import each_step
from loom_runner.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner._model.records import RunRecord
    from loom_runner._program.protocol import Program
    from loom_runner._store.protocol import StoreReader

__all__ = ["readable", "verify_run"]


def readable(program: Program, text: str, version: int, what: str) -> Any:
    """Decode a stored state of any version that the program can convert.

    Raises:
        StateDecodeError: It cannot be read; the message names it `what`.
    """
    return program.read_state(program.upgraded(text, version, what), is_resumed=True)


def verify_run(reader: StoreReader, program: Program, record: RunRecord) -> dict[str, Any]:
    """Decode all states and the result of a run with the types of the code, and report errors."""
    versions = {lease.fence: lease.state_version for lease in reader.leases(record.run_id)}
    problems: list[dict[str, Any]] = []
    checked = 0

    def check(read: Callable[[], object], step_index: int | None) -> None:
        nonlocal checked
        checked += 1
        try:
            read()
        except StateError as exc:
            problems.append({"step_index": step_index, "problem": str(exc)})

    what = f"run {record.run_id!r}"
    check(partial(readable, program, record.state, record.state_version, what), None)
    if record.result is not None:
        check(partial(program.read_result, record.result), None)
    for step in each_step(reader, record.run_id):
        if step.state is not None:
            version = versions.get(step.fence, record.state_version)
            where = f"{what} (step {step.step_index})"
            check(partial(readable, program, step.state, version, where), step.step_index)
    return {"ok": not problems, "checked": checked, "problems": problems}
