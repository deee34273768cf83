"""The tool ledger in the SQLite store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loom_runner._store.sqlite.approvals import ApprovalWrites
from loom_runner._store.sqlite.base import FOREVER, OF_RUN, Reads
from loom_runner._store.sqlite.readiness import set_ready_at_of_run
from loom_runner._store.sqlite.rows import SELECT_TOOL, SELECT_TRY, to_tool, to_try

if TYPE_CHECKING:
    import apsw

    from loom_runner._model.records import Claim, ToolRecord, ToolTry
    from loom_runner._model.writes import ToolEnd, ToolStart

__all__ = ["ToolReads", "ToolWrites"]
_START_TOOL: Final = """
    INSERT INTO tool_calls (run_key, ordinal, step_index, key, name, status, started_at, fence, arguments_hash,
        arguments)
    VALUES (?1, (SELECT coalesce(max(ordinal), 0) + 1 FROM tool_calls WHERE run_key = ?1), ?, ?, ?, 'started', ?, ?, ?,
        ?) ON CONFLICT DO NOTHING
"""


class ToolReads(Reads):
    """Read `tool_calls` and `tool_tries`."""

    def tool_calls(
        self,
        run_id: str | None = None,
        *,
        open_only: bool = False,
        decided_only: bool = False,
        steps: tuple[int, int] | None = None,
        first: int = 0,
        limit: int = -1,
        whole: bool = True,
    ) -> list[ToolRecord]:
        of_run = (
            "WHERE t.run_key = (SELECT run_key FROM runs WHERE run_id = ?1)"
            if run_id is not None
            else "WHERE ?1 IS NULL"
        )
        where = f"{of_run} AND t.ordinal >= ?2"
        if open_only:
            where += " AND t.status IN ('started', 'in_doubt')"
        if decided_only:
            where += " AND t.decided_by IS NOT NULL"
        if steps is not None:
            where += f" AND t.step_index >= {int(steps[0])} AND t.step_index < {int(steps[1])}"
        order = "t.number" if run_id is None else "t.ordinal"
        rows = self._read(f"{SELECT_TOOL} {where} ORDER BY {order} LIMIT ?3", (run_id, first, limit))
        payload = self._cells.get if whole else self._cells.preview
        return [to_tool(row, self._cells.get, payload) for row in rows]

    def tool_call(self, run_id: str, step_index: int, key: str) -> ToolRecord | None:
        where = "WHERE r.run_id = ? AND t.step_index = ? AND t.key = ?"
        rows = self._read(f"{SELECT_TOOL} {where}", (run_id, step_index, key))
        return to_tool(rows[0], self._cells.get, self._cells.get) if rows else None

    def tool_tries(self, run_id: str, *, steps: tuple[int, int] = (0, FOREVER)) -> list[ToolTry]:
        where = f"{OF_RUN} AND t.step_index >= ?2 AND t.step_index < ?3 ORDER BY t.ordinal, y.try"
        rows = self._read(f"{SELECT_TRY} {where}", (run_id, *steps))
        return [to_try(row, self._cells.get) for row in rows]


class ToolWrites(ApprovalWrites):
    """Write `tool_calls` and `tool_tries`."""

    async def start_tool(self, claim: Claim, call: ToolStart) -> ToolRecord | None:
        return await self._write_call(True, self._start_tool, claim, call)

    def _start_tool(self, db: apsw.Connection, claim: Claim, call: ToolStart) -> ToolRecord | None:
        self._renew_lease(db, claim)
        db.execute(
            _START_TOOL,
            (
                claim.run_key,
                call.step_index,
                call.key,
                call.name,
                call.at,
                claim.fence,
                self._cells.encrypted(call.arguments_hash),
                self._cells.put(call.arguments, f"the arguments of {call.name}"),
            ),
        )
        if db.changes():
            if call.approval is not None:
                self._use_approval(db, claim, call)
            return None
        row = db.execute(
            f"{SELECT_TOOL} WHERE t.run_key = ? AND t.step_index = ? AND t.key = ?",
            (claim.run_key, call.step_index, call.key),
        ).fetchone()
        return to_tool(row or (), self._cells.get, self._cells.get)

    async def restart_tool(self, claim: Claim, call: ToolStart) -> None:
        await self._write_call(True, self._restart_tool, claim, call)

    def _restart_tool(self, db: apsw.Connection, claim: Claim, call: ToolStart) -> None:
        self._renew_lease(db, claim)
        if call.approval is not None:
            self._use_approval(db, claim, call)
        db.execute(
            """INSERT INTO tool_tries SELECT number, tries, status, started_at, ended_at, fence, error
               FROM tool_calls WHERE run_key = ? AND step_index = ? AND key = ?""",
            (claim.run_key, call.step_index, call.key),
        )
        db.execute(
            """UPDATE tool_calls SET status = 'started', tries = tries + 1, started_at = ?, ended_at = NULL,
            fence = ?,
                   error = NULL, retryable = 0
               WHERE run_key = ? AND step_index = ? AND key = ?""",
            (call.at, claim.fence, claim.run_key, call.step_index, call.key),
        )

    async def end_tool(self, claim: Claim, step_index: int, key: str, end: ToolEnd) -> None:
        await self._write_call(False, self._end_tool, claim, step_index, key, end)

    def _end_tool(self, db: apsw.Connection, claim: Claim, step_index: int, key: str, end: ToolEnd) -> None:
        self._renew_lease(db, claim)
        db.execute(
            """UPDATE tool_calls SET status = ?, ended_at = ?, result = ?, error = ?, retryable = ?
               WHERE run_key = ? AND step_index = ? AND key = ? AND status = 'started'""",
            (
                end.status,
                end.at,
                self._put(end.result, f"the result of {key}"),
                self._put_error(end.error),
                end.retryable,
                claim.run_key,
                step_index,
                key,
            ),
        )
        if db.changes() != 1:  # a person decided about the call while this process seemed to be gone
            raise self._lost(claim)

    async def decide_tool(self, seen: ToolRecord, end: ToolEnd, decided_by: str) -> bool:
        return await self._write(self._decide_tool, seen, end, decided_by)

    def _decide_tool(self, db: apsw.Connection, seen: ToolRecord, end: ToolEnd, decided_by: str) -> bool:
        db.execute(
            """UPDATE tool_calls SET status = ?, ended_at = ?, result = ?, error = ?, retryable = ?, decided_by = ?
               WHERE run_key = (SELECT run_key FROM runs WHERE run_id = ?) AND ordinal = ?
                 AND status = ? AND fence = ? AND tries = ?""",
            (
                end.status,
                end.at,
                self._put(end.result, f"the result of {seen.name}"),
                self._put_error(end.error),
                end.retryable,
                decided_by,
                seen.run_id,
                seen.number,
                seen.status,
                seen.fence,
                seen.tries,
            ),
        )
        if not db.changes():
            return False
        set_ready_at_of_run(db, seen.run_id)
        return True
