"""The approval request that a gate asks for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from loom_runner._model.approvals import ApprovalRecord
from loom_runner._model.seconds import in_seconds

if TYPE_CHECKING:
    from loom_runner._model.writes import ToolStart
    from loom_runner._program.gate import Ask

__all__ = ["approval_request"]


def approval_request(run_id: str, start: ToolStart, ask: Ask) -> ApprovalRecord:
    """Return the request for a call, bound to its arguments and the policy; its number is 0."""
    expires_at = None if ask.ttl_s is None else start.at + int(in_seconds(ask.ttl_s) * 1_000_000)
    return ApprovalRecord(
        run_id,
        0,
        start.step_index,
        start.key,
        start.name,
        start.arguments,
        start.arguments_hash,
        start.at,
        expires_at,
        ask.reason,
        max(1, ask.needed),
        json.dumps(dict(ask.policy), ensure_ascii=False),
    )
