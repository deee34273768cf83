"""Whether a waiting run is ready. The definition is in `_model/waits.py`; the store applies it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from loom_runner._model.approvals import ApprovalRecord, Decision, as_of, with_decision
from loom_runner._model.waits import DecisionWait
from loom_runner._program.gate import Allow, Deny, PendingCall
from loom_runner.errors import UnknownTool

if TYPE_CHECKING:
    from loom_runner._driver.settings import Settings
    from loom_runner._model.records import RunRecord

__all__ = ["Waits"]


class Waits:
    """Check the waits of one agent's runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = settings.store

    async def is_over(self, record: RunRecord) -> bool:
        """Return whether a waiting run can be resumed now. The gate is called again for pending
        requests.
        """
        if self._is_ready(record):
            return True
        wait = record.wait
        if not isinstance(wait, DecisionWait) or not await self._gate_decides(record.run_id, wait):
            return False
        after = await self._store.get_run(record.run_id)
        return after is not None and after.status == "waiting" and self._is_ready(after)

    def _is_ready(self, record: RunRecord) -> bool:
        return record.ready_at is not None and record.ready_at <= self._settings.clock.now_us()

    async def _gate_decides(self, run_id: str, wait: DecisionWait) -> bool:
        """Call the gate again for the pending requests; return whether it has decided about all of
        them.
        """
        if self._settings.agent.gate is None or not wait.approvals:
            return False
        now = self._settings.clock.now_us()
        pending = [
            approval
            for approval in (as_of(row, now) for row in await self._store.approvals(run_id))
            if approval.number in wait.approvals and approval.status == "pending"
        ]
        return all([await self._decides(approval, now) for approval in pending])

    async def _decides(self, approval: ApprovalRecord, now: int) -> bool:
        gate, tools = self._settings.agent.gate, self._settings.agent.tools
        if gate is None:
            return False
        try:
            tool = tools.get(approval.name)
        except UnknownTool:  # a `@tool` function, which is not in the registry
            return False
        arguments = json.loads(approval.arguments)
        call = PendingCall(approval.run_id, approval.step_index, approval.key, approval.name, tool, arguments)
        try:
            verdict = gate(call)
        except Exception:
            logging.getLogger("loom_runner").warning(
                "the gate failed for %s; its request stays pending", call.name, exc_info=True
            )
            return False
        if isinstance(verdict, Allow):
            after = replace(with_decision(approval, Decision("gate", "approve", now, "gate")), status="approved")
        elif isinstance(verdict, Deny):
            after = with_decision(approval, Decision("gate", "deny", now, "gate", verdict.note))
        else:
            return False
        return await self._store.update_approval(approval, after)
