"""Which steps of a long run its trace shows, and the sums over the others, in the SQLite store.

Every question is one statement over the rows of one run, so that a trace needs no more memory for a
run of a million steps than for one of a thousand.
"""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.folded import Counted, FoldedCalls, FoldedSteps, RunSize
from loom_runner._store.sqlite.base import FOREVER, SPAN, Reads

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FoldReads"]

_KEY: Final = "SELECT run_key FROM runs WHERE run_id = ?"
_TOOK: Final = "ended_at - started_at"
_NOTABLE: Final = (
    f"SELECT step_index FROM steps WHERE {SPAN} ORDER BY step_key {{order}} LIMIT ?4",
    f"SELECT step_index FROM steps WHERE {SPAN} AND attempts > 1 ORDER BY step_key {{order}} LIMIT ?4",
    f"SELECT step_index FROM steps WHERE {SPAN} AND outcome <> 'continue' ORDER BY step_key {{order}} LIMIT ?4",
    """SELECT DISTINCT step_index FROM attempts WHERE run_key = ?1 AND step_index >= ?2 AND step_index < ?3
       ORDER BY step_index {order} LIMIT ?4""",
    """SELECT DISTINCT step_index FROM tool_calls WHERE run_key = ?1 AND step_index >= ?2 AND step_index < ?3
       AND (status <> 'done' OR tries > 1 OR decided_by IS NOT NULL) ORDER BY step_index {order} LIMIT ?4""",
    """SELECT DISTINCT step_index FROM approvals WHERE run_key = ?1 AND step_index >= ?2 AND step_index < ?3
       ORDER BY step_index {order} LIMIT ?4""",
    """SELECT DISTINCT first_step FROM leases WHERE run_key = ?1 AND first_step >= ?2 AND first_step < ?3
       AND ended_as IN ('lost', 'failed', 'parked', 'interrupted') ORDER BY first_step {order} LIMIT ?4""",
)
_SLOWEST: Final = f"""
    SELECT step_index FROM steps WHERE {SPAN}
    AND {_TOOK} > 10 * (SELECT work_us / max(step_index - first_step, 1) FROM runs WHERE run_key = ?1)
    ORDER BY {_TOOK} DESC LIMIT min(?4, 10)
"""


class FoldReads(Reads):
    """Read sums over the steps of a run."""

    def size_of_run(self, run_id: str) -> RunSize:
        """See `StoreReader`."""
        [(steps, attempts, calls, leases)] = self._read(
            f"""SELECT
                (SELECT count(*) FROM steps WHERE {SPAN}), (SELECT count(*) FROM attempts WHERE run_key = ?1),
                (SELECT count(*) FROM tool_calls WHERE run_key = ?1), (SELECT count(*) FROM leases WHERE run_key = ?1)
            """,
            (self._key(run_id), 0, FOREVER),
        )
        return RunSize(steps, attempts, calls, leases)

    def notable_steps(self, run_id: str, *, each: int) -> list[int]:
        """See `StoreReader`."""
        values = (self._key(run_id), 0, FOREVER, each)
        found: set[int] = set()
        for query in _NOTABLE:
            for order in ("ASC", "DESC"):
                found.update(index for (index,) in self._read(query.format(order=order), values))
        found.update(index for (index,) in self._read(_SLOWEST, values))
        return sorted(found)

    def folded_steps(self, run_id: str, first: int, stop: int) -> FoldedSteps:
        """See `StoreReader`."""
        values = (self._key(run_id), first, stop)
        rows = self._read(
            f"""SELECT outcome, count(*), sum({_TOOK}), min(started_at), max(ended_at), min(fence), max(fence),
                    sum(attempts - 1)
                FROM steps WHERE {SPAN} GROUP BY outcome ORDER BY 2 DESC, 1""",
            values,
        )
        in_range = "run_key = ?1 AND step_index >= ?2 AND step_index < ?3"
        attempts = self._read(f"SELECT kind, count(*) FROM attempts WHERE {in_range} GROUP BY kind", values)
        calls = self._read(
            f"""SELECT name, status, count(*), sum(tries), coalesce(sum(ended_at - started_at), 0) FROM tool_calls
                WHERE {in_range} GROUP BY name, status ORDER BY 3 DESC, 1, 2""",
            values,
        )
        fences = (min((row[5] for row in rows), default=0), max((row[6] for row in rows), default=-1))
        [(waits, waited_us)] = self._read(
            """SELECT count(*), coalesce(sum(until - ended_at), 0) FROM (
                   SELECT ended_as, ended_at, lead(taken_at) OVER (ORDER BY fence) AS until FROM leases
                   WHERE run_key = ? AND fence BETWEEN ? AND ? + 1)
               WHERE ended_as = 'waiting' AND until IS NOT NULL""",
            (values[0], *fences),
        )
        return FoldedSteps(
            outcomes=tuple(Counted(row[0], row[1]) for row in rows),
            work_us=sum(row[2] for row in rows),
            started_at=min((row[3] for row in rows), default=None),
            ended_at=max((row[4] for row in rows), default=None),
            fences=fences,
            attempts=tuple(Counted(kind, count) for kind, count in attempts),
            calls=tuple(FoldedCalls(*row) for row in calls),
            waits=waits,
            waited_us=waited_us,
        )

    def fences_of_steps(self, run_id: str, indexes: Sequence[int]) -> list[int]:
        """See `StoreReader`."""
        key, wanted = self._key(run_id), json.dumps(list(indexes))
        rows = self._read(
            """SELECT fence FROM steps
               WHERE step_key IN (SELECT (?1 << 32) + value FROM json_each(?2))
               UNION SELECT fence FROM attempts WHERE run_key = ?1
               AND step_index IN (SELECT value FROM json_each(?2)) ORDER BY 1""",
            (key, wanted),
        )
        return [fence for (fence,) in rows]

    def _key(self, run_id: str) -> Any:
        return next((key for (key,) in self._read(_KEY, (run_id,))), -1)
