"""Tool calls with the truth about doubt: a lease that still runs on paper means nothing when its process is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from loom_runner._model.processes import is_gone

if TYPE_CHECKING:
    from loom_runner._model.records import ToolRecord
    from loom_runner._store.protocol import Store

__all__ = ["read_tool_calls"]


def read_tool_calls(store: Store, run_id: str | None = None, *, in_doubt: bool = False) -> list[ToolRecord]:
    """Read tool calls of one run or of all; with `in_doubt` only those that nobody knows the end of."""
    calls = [_known(call) for call in store.tool_calls(run_id, open_only=in_doubt)]
    return [call for call in calls if call.is_in_doubt] if in_doubt else calls


def _known(call: ToolRecord) -> ToolRecord:
    if call.status == "started" and call.is_live and is_gone(call.owner):
        return replace(call, is_live=False)
    return call
