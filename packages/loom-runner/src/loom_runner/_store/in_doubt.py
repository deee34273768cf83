"""Tool calls whose status takes processes that have ended into account.

A call that was started by a process that is gone is in doubt, even if the lease of that process has
not expired.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from loom_runner._model.processes import is_gone

if TYPE_CHECKING:
    from loom_runner._model.records import ToolRecord
    from loom_runner._store.protocol import StoreReader

__all__ = ["read_tool_calls", "with_liveness"]


def read_tool_calls(
    reader: StoreReader, run_id: str | None = None, *, in_doubt: bool = False, first: int = 0, limit: int = -1
) -> list[ToolRecord]:
    """Return tool calls of one run or of all.

    Args:
        in_doubt: Only those whose outcome is unknown.
        first: The number of the first call.
        limit: The largest number of calls read; a negative number is no limit.
    """
    rows = reader.tool_calls(run_id, open_only=in_doubt, first=first, limit=limit)
    calls = [with_liveness(call) for call in rows]
    return [call for call in calls if call.is_in_doubt] if in_doubt else calls


def with_liveness(call: ToolRecord) -> ToolRecord:
    """Return a call that is not live if its process is gone."""
    if call.status == "started" and call.is_live and is_gone(call.owner):
        return replace(call, is_live=False)
    return call
