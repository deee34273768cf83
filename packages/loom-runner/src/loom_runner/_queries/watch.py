"""What is new in a run since the last look: `watch` asks again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loom_runner._model.processes import is_gone
from loom_runner._queries.views import attempt_view, run_view, step_view, tool_view
from loom_runner._store.lookup import read_run

if TYPE_CHECKING:
    from loom_runner._model.records import RunRecord, ToolRecord
    from loom_runner._store.protocol import StoreReader

__all__ = ["Watcher"]


@dataclass(slots=True)
class Watcher:
    """Look at a run and give what changed.

    Args:
        first_step: Steps before this one are not told.
    """

    reader: StoreReader
    run_id: str
    first_step: int
    run: RunRecord | None = None
    _reported: set[tuple[int, int, int]] = field(default_factory=set)
    _first_call: int = 0
    _open: dict[int, ToolRecord] = field(default_factory=dict)
    _last_status: tuple[object, ...] = ()

    def changes(self) -> list[dict[str, Any]]:
        """Rows that are new or other than at the last look: `tool_call`, `attempt`, `step`, then `run`."""
        # The run's row first: what is read after it is at least as new, so nothing is told too late to be seen.
        self.run = run = read_run(self.reader, self.run_id, "watch")
        rows = [{"kind": "tool_call"} | tool_view(call) for call in self._calls()]
        for row in self.reader.attempts(self.run_id):
            name = (row.step_index, row.fence, row.attempt)
            if row.step_index >= self.first_step and name not in self._reported:
                self._reported.add(name)
                rows.append({"kind": "attempt"} | attempt_view(row))
        while page := self.reader.steps(self.run_id, first=self.first_step, limit=100):
            rows += [{"kind": "step"} | step_view(step) for step in page]
            self.first_step = page[-1].step_index + 1
        stands = (run.status, run.fence, self.is_abandoned)
        if stands != self._last_status:
            self._last_status = stands
            rows.append({"kind": "run"} | run_view(run))
        return rows

    @property
    def is_abandoned(self) -> bool:
        """Whether the process that worked on the run disappeared and nobody has taken over."""
        run = self.run
        if run is None or run.status != "running":
            return False
        return run.owner is None or not run.is_leased or is_gone(run.owner)

    @property
    def is_idle(self) -> bool:
        """Whether nobody works on the run now."""
        return self.run is not None and (self.run.status != "running" or self.is_abandoned)

    @property
    def in_flight(self) -> list[ToolRecord]:
        """The calls that have started and not ended."""
        return list(self._open.values())

    def _calls(self) -> list[ToolRecord]:
        """Calls that started or ended since the last look."""
        new = self.reader.tool_calls(self.run_id, first=self._first_call)
        now_open = {call.number: call for call in self.reader.tool_calls(self.run_id, open_only=True)}
        again = [call for number, call in self._open.items() if number not in now_open]
        ended = [self.reader.tool_call(call.run_id, call.step_index, call.key) or call for call in again]
        if new:
            self._first_call = new[-1].number + 1
        self._open = now_open
        numbers = {call.number for call in new}
        return [call for call in new if call.step_index >= self.first_step] + [
            call for call in ended if call.number not in numbers
        ]
