"""The error of a call whose approval does not verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner.errors import ApprovalTampered
from loom_runner.run_ids import request_id

if TYPE_CHECKING:
    from loom_runner._model.writes import ToolStart

__all__ = ["tampered"]


def tampered(run_id: str, call: ToolStart, why: str) -> ApprovalTampered:
    """Return the error, which says what to do."""
    name = "its approval" if call.approval is None else f"request {request_id(run_id, call.approval)}"
    return ApprovalTampered(
        f"cannot start {call.name} in {run_id!r}: {name} does not verify: {why}. Nothing was started. Find out who "
        "wrote to the database, then cancel the run and start a new one.",
        run_id=run_id,
        step_index=call.step_index,
    )
