"""Whether a waiting run is ready, and waiting for that. The definition is in `_model/waits.py`; the
store applies it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.approvals import GATE, ApprovalRecord, Decision, as_of, with_decision
from loom_runner._model.waits import DecisionWait, RetryWait, TimerWait
from loom_runner._program.gate import Allow, Deny, PendingCall
from loom_runner._store.lookup import find_run
from loom_runner.errors import UnknownTool

if TYPE_CHECKING:
    from loom_runner._driver.settings import Invocation, Settings
    from loom_runner._model.records import RunRecord

__all__ = ["Waits"]

_LOOK_FOR_STOP_EVERY_S: Final = 0.5
"""How often a call that waits looks whether the engine is being stopped."""


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
        if after is None or after.status != "waiting":
            return False
        return wait.doubt is None or self._is_ready(after)  # no request is pending, whoever has written that

    async def wait_here(self, record: RunRecord, invocation: Invocation) -> bool:
        """Wait until a run is ready or has changed its status, at most as long as this call may
        wait; return whether that happened.

        A timer that is due later is not waited for. Changes by other processes are seen, too.
        """
        clock, run_id = self._settings.clock, record.run_id
        began = clock.now_us()
        mark = self._store.change_mark()
        record = await find_run(self._store, run_id, "resume")
        if self._has_moved(record):
            return True
        left_s = None if record.ready_at is None else (record.ready_at - began) / 1_000_000
        is_late = left_s is not None and left_s > invocation.wait_s
        if invocation.wait_s <= 0 or (is_late and isinstance(record.wait, TimerWait | RetryWait)):
            return False
        timer: asyncio.Future[Any] = asyncio.ensure_future(
            clock.sleep(invocation.wait_s if left_s is None or is_late else left_s)
        )
        try:
            while not timer.done() and not self._settings.stop.is_requested:
                await self._one_change(mark, timer)
                mark = self._store.change_mark()
                if self._has_moved(await find_run(self._store, run_id, "resume")):
                    return True
        finally:
            timer.cancel()
            invocation.wait_s = max(0.0, invocation.wait_s - (clock.now_us() - began) / 1_000_000)
        return left_s is not None and not is_late and not self._settings.stop.is_requested

    async def _one_change(self, mark: object, timer: asyncio.Future[Any]) -> None:
        change = asyncio.ensure_future(self._store.wait_for_change(mark, _LOOK_FOR_STOP_EVERY_S))
        try:
            await asyncio.wait([timer, change], return_when=asyncio.FIRST_COMPLETED)
            if change.done():
                change.result()  # or its error
        finally:
            change.cancel()

    def _has_moved(self, record: RunRecord) -> bool:
        return record.status != "waiting" or self._is_ready(record)

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
            after = replace(with_decision(approval, Decision(GATE, "approve", now, GATE)), status="approved")
        elif isinstance(verdict, Deny):
            after = with_decision(approval, Decision(GATE, "deny", now, GATE, verdict.note))
        else:
            return False
        return await self._store.update_approval(approval, after)
