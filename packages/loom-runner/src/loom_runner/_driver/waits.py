"""What a waiting run waits for: every shape of `wait` in one place, and whether it has come.

| `wait` | written by | over when |
|---|---|---|
| `{"signal": NAME, "until": ISO or null}` | `Wait` | such a signal is there, or the time has come |
| `{"timer": true, "until": ISO}` | `Sleep` | the time has come |
| `{"children": [RUN, ...], "needed": N, "programs": [KEY, ...]}` | `Spawn` | N of these runs have settled |
| `{"doubt": CALL}` | a call in doubt | somebody has decided about call `RUN#CALL` |
| `{"approvals": [NUMBER, ...], "until": ISO or null}` | a call that needs a word | none of them is pending |

The last two leave the step uncommitted. They may come together, and when the step itself began after a wait, that one
is kept in `after`, so that the next attempt finds the same signal.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loom_runner._model.approvals import ApprovalRecord, Decision, as_of, settled
from loom_runner._program.gate import Allow, Deny, PendingCall
from loom_runner._store.doubts import read_tool_calls
from loom_runner.errors import UnknownTool

if TYPE_CHECKING:
    from loom_runner._driver.children import Family
    from loom_runner._driver.cursor import Settings
    from loom_runner._model.records import RunRecord

__all__ = ["Waits", "before_step"]


def before_step(wait: dict[str, Any] | None) -> dict[str, Any] | None:
    """The wait that ended before the step that is to run next; None when there was none."""
    if wait is None or not wait.keys() & {"doubt", "approvals"}:
        return wait
    if "after" in wait:
        after: dict[str, Any] = wait["after"]
        return after
    # Rows of earlier versions have the doubt beside the signal.
    return {name: value for name, value in wait.items() if name not in ("doubt", "approvals", "until")} or None


class Waits:
    """Look whether what a run waits for has come."""

    def __init__(self, settings: Settings, family: Family) -> None:
        self._settings = settings
        self._family = family
        self._store = settings.store

    async def is_over(self, record: RunRecord) -> bool:
        """Say whether a waiting run may go on."""
        wait = record.wait or {}
        if wait.keys() & {"doubt", "approvals"}:
            return self._is_decided(record.run_id, wait) and await self._are_decided(record.run_id, wait)
        if "children" in wait:
            needed: int = wait["needed"]
            return self._family.settled(wait) >= needed
        is_due = record.due_at is not None and record.due_at <= self._settings.clock.now_us()
        return is_due or ("signal" in wait and bool(self._store.signals(record.run_id, name=wait["signal"])))

    def _is_decided(self, run_id: str, wait: dict[str, Any]) -> bool:
        if "doubt" not in wait:
            return True
        calls = read_tool_calls(self._store, run_id, in_doubt=True)
        return all(call.number != wait["doubt"] for call in calls)

    async def _are_decided(self, run_id: str, wait: dict[str, Any]) -> bool:
        numbers = wait.get("approvals", ())
        if not numbers:
            return True
        now = self._settings.clock.now_us()
        pending = [
            approval
            for approval in (as_of(row, now) for row in self._store.approvals(run_id) if row.number in numbers)
            if approval.status == "pending"
        ]
        return all([await self._passes(approval, now) for approval in pending])

    async def _passes(self, approval: ApprovalRecord, now: int) -> bool:
        """Ask the gate about a pending request once more: the policy may have changed since."""
        gate, tools = self._settings.gate, self._settings.tools
        if gate is None:
            return False
        try:
            tool = tools.get(approval.name)
        except UnknownTool:  # a `@tool` function, which only the code knows
            return False
        arguments = json.loads(approval.arguments)
        call = PendingCall(approval.run_id, approval.step_index, approval.key, approval.name, tool, arguments)
        try:
            verdict = gate(call)
        except Exception:
            logging.getLogger("loom_runner").warning(
                "the gate failed for %s; its request stays", call.name, exc_info=True
            )
            return False
        if isinstance(verdict, Allow):
            after = replace(settled(approval, Decision("gate", "approve", now, "gate")), status="approved")
        elif isinstance(verdict, Deny):
            after = settled(approval, Decision("gate", "deny", now, "gate", verdict.note))
        else:
            return False
        return await self._store.update_approval(approval, after)
