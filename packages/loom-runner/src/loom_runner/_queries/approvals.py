"""Read approval requests with their current status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner._model.approvals import ApprovalRecord, as_of
from loom_runner._model.clock import SystemClock
from loom_runner._store.lookup import read_run

if TYPE_CHECKING:
    from loom_runner._model.clock import Clock
    from loom_runner._store.protocol import StoreReader

__all__ = ["read_approvals"]


def read_approvals(
    reader: StoreReader, run_id: str | None = None, *, pending_only: bool = False, clock: Clock | None = None
) -> list[ApprovalRecord]:
    """Return the requests of one run, or of all, in the order of their creation.

    Raises:
        UnknownRun: There is no such run.
    """
    if run_id is not None:
        read_run(reader, run_id, "show the approvals of")
    now = (clock or SystemClock()).now_us()
    rows = [as_of(row, now) for row in reader.approvals(run_id, pending_only=pending_only)]
    return [row for row in rows if not pending_only or row.status == "pending"]
