"""Approval requests in the SQLite store."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.approvals import ApprovalRecord, Decision, why_not_usable
from loom_runner._model.tampering import tampered
from loom_runner._store.sqlite.base import OF_RUN, Reads, Writes
from loom_runner._store.sqlite.readiness import set_ready_at_of_run
from loom_runner.run_ids import request_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import apsw

    from loom_runner._model.records import Claim
    from loom_runner._model.writes import ToolStart
    from loom_runner._store.cells import Cell

__all__ = ["ApprovalReads", "ApprovalWrites"]

_SELECT: Final = """
    SELECT r.run_id, a.number, a.step_index, a.key, a.name, a.arguments, a.arguments_hash, a.requested_at,
        a.expires_at, a.reason, a.needed, a.policy, a.status, a.decisions, a.edited
    FROM approvals a JOIN runs r ON r.run_key = a.run_key
"""


class ApprovalReads(Reads):
    """Read `approvals`."""

    def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> list[ApprovalRecord]:
        where = "WHERE ?1 IS NULL" if run_id is None else OF_RUN.replace("run_key", "a.run_key", 1)
        if pending_only:
            where += " AND a.status = 'pending'"
        rows = self._read(f"{_SELECT} {where} ORDER BY a.requested_at, r.run_key, a.number", (run_id,))
        return [_to_approval(row, self._cells.get) for row in rows]

    def approval_of(self, run_id: str, step_index: int, key: str) -> ApprovalRecord | None:
        where = "WHERE r.run_id = ? AND a.step_index = ? AND a.key = ?"
        rows = self._read(f"{_SELECT} {where}", (run_id, step_index, key))
        return _to_approval(rows[0], self._cells.get) if rows else None


class ApprovalWrites(Writes):
    """Write `approvals`."""

    async def update_approval(
        self, seen: ApprovalRecord, after: ApprovalRecord, *, also: Callable[[Any], object] | None = None
    ) -> bool:
        return await self._write(self._update_approval, seen, after, also)

    def _update_approval(
        self, db: apsw.Connection, seen: ApprovalRecord, after: ApprovalRecord, also: Callable[[Any], object] | None
    ) -> bool:
        db.execute(
            """UPDATE approvals SET status = ?, decided = ?, decisions = ?, edited = ?, expires_at = ?
               WHERE run_key = (SELECT run_key FROM runs WHERE run_id = ?) AND number = ?
                 AND status = ? AND decided = ?""",
            (
                after.status,
                len(after.decisions),
                self._cells.put(
                    json.dumps([asdict(decision) for decision in after.decisions], ensure_ascii=False), "the decisions"
                ),
                self._put(after.edited, "the edited arguments"),
                after.expires_at,
                seen.run_id,
                seen.number,
                seen.status,
                len(seen.decisions),
            ),
        )
        if not db.changes():
            return False
        if after.status == "approved" and after.is_repetition:
            db.execute(
                """UPDATE tool_calls SET status = 'retry', decided_by = ?
                   WHERE run_key = (SELECT run_key FROM runs WHERE run_id = ?) AND step_index = ? AND key = ?
                     AND status IN ('started', 'in_doubt')""",
                (", ".join(sorted(after.approvers)), seen.run_id, seen.step_index, seen.key),
            )
        set_ready_at_of_run(db, seen.run_id)
        if also is not None:
            also(db)
        return True

    def _add_approvals(self, db: apsw.Connection, claim: Claim, asks: Iterable[ApprovalRecord]) -> None:
        """Write new requests, inside the transaction that lets the run wait."""
        for ask in asks:
            db.execute(
                """INSERT INTO approvals (run_key, number, step_index, key, name, status, requested_at, expires_at,
                       needed, reason, policy, decisions, arguments_hash, arguments)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (
                    claim.run_key,
                    ask.number,
                    ask.step_index,
                    ask.key,
                    ask.name,
                    ask.status,
                    ask.requested_at,
                    ask.expires_at,
                    ask.needed,
                    self._cells.put(ask.reason, "the reason"),
                    self._cells.put(ask.policy, "the policy"),
                    self._cells.put("[]", "the decisions"),
                    self._cells.put(ask.arguments_hash, "the arguments' hash"),
                    self._cells.put(ask.arguments, f"the arguments of {ask.name}"),
                ),
            )

    def _use_approval(self, db: apsw.Connection, claim: Claim, call: ToolStart) -> None:
        """Verify an approval and mark it as used, inside the transaction that starts its call.

        Raises:
            ApprovalTampered: It does not allow this call.
        """
        row = db.execute(f"{_SELECT} WHERE a.run_key = ? AND a.number = ?", (claim.run_key, call.approval)).fetchone()
        approval = None if row is None else _to_approval(row, self._cells.get)
        why = "there is no such request" if approval is None else _why_not_for(approval, call)
        if why is None and approval is not None and call.verify is not None:
            why = call.verify(db, approval.as_json())
        if why is not None:
            raise tampered(claim.run_id, call, why)
        db.execute(
            "UPDATE approvals SET status = 'used' WHERE run_key = ? AND number = ?", (claim.run_key, call.approval)
        )


def _why_not_for(approval: ApprovalRecord, call: ToolStart) -> str | None:
    """Return why an approval does not allow exactly this call now; None when it does."""
    if approval.status != "approved":
        return f"it is {approval.status}, not approved"
    if (approval.step_index, approval.key, approval.name) != (call.step_index, call.key, call.name):
        return "it is about another call"
    if (approval.edited or approval.arguments) != call.arguments:
        return "it is about other arguments"
    return why_not_usable(approval, call.at)


def _to_approval(row: tuple[Any, ...], get: Callable[[Cell, str], str]) -> ApprovalRecord:
    run_id, number, step_index, key, name, arguments, arguments_hash, requested_at, expires_at = row[:9]
    reason, needed, policy, status, decisions, edited = row[9:]
    what = f"approval request {request_id(run_id, number)}"
    return ApprovalRecord(
        run_id,
        number,
        step_index,
        key,
        name,
        get(arguments, what),
        get(arguments_hash, what),
        requested_at,
        expires_at,
        get(reason, what),
        needed,
        get(policy, what),
        status,
        tuple(Decision(**decision) for decision in json.loads(get(decisions, what))),
        None if edited is None else get(edited, what),
    )
