"""The changes of a run since the last poll, for `watch`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loom_runner._queries.liveness import is_interrupted
from loom_runner._queries.views import attempt_view, run_view, step_view, tool_view
from loom_runner._store.lookup import read_run

if TYPE_CHECKING:
    from loom_runner._model.records import RunRecord, ToolRecord
    from loom_runner._store.protocol import StoreReader

__all__ = ["Watcher"]


@dataclass(slots=True)
class Watcher:
    """Poll a run and report what changed.

    Args:
        first_step: Earlier steps are not reported.
    """

    reader: StoreReader
    run_id: str
    first_step: int
    run: RunRecord | None = None
    _reported: set[tuple[int, int, int]] = field(default_factory=set)
    _first_call: int = 0
    _open: dict[int, ToolRecord] = field(default_factory=dict)
    _last_status: tuple[object, ...] = ()
    _from_step: int = field(init=False)

    def __post_init__(self) -> None:
        self._from_step = self.first_step

    def changes(self) -> list[dict[str, Any]]:
        """Return rows that are new or changed since the last call: `tool_call`, `attempt`, `step`,
        then `run`.
        """
        # The run's row is read first: the other rows are at least as new, so a run that has ended
        # has all its rows.
        self.run = run = read_run(self.reader, self.run_id, "watch")
        rows = [{"kind": "tool_call"} | tool_view(call) for call in self._calls()]
        for row in self.reader.attempts(self.run_id, first=self.first_step):
            name = (row.step_index, row.fence, row.attempt)
            if row.step_index >= self.first_step and name not in self._reported:
                self._reported.add(name)
                rows.append({"kind": "attempt"} | attempt_view(row))
        while page := self.reader.steps(self.run_id, first=self.first_step, limit=100):
            rows += [{"kind": "step"} | step_view(step) for step in page]
            self.first_step = page[-1].step_index + 1
        status = (run.status, run.fence, self.is_abandoned)
        if status != self._last_status:
            self._last_status = status
            rows.append({"kind": "run"} | run_view(run))
        return rows

    @property
    def is_abandoned(self) -> bool:
        """Whether the process that drove the run disappeared and no other has taken over."""
        return self.run is not None and is_interrupted(self.run)

    @property
    def is_idle(self) -> bool:
        """Whether no process drives the run now."""
        return self.run is not None and (self.run.status != "running" or self.is_abandoned)

    @property
    def in_flight(self) -> list[ToolRecord]:
        """The calls that have started and not ended."""
        return list(self._open.values())

    def _calls(self) -> list[ToolRecord]:
        """Return the calls that started or ended since the last poll."""
        bounds = (self._from_step, 1 << 32)
        new = self.reader.tool_calls(self.run_id, first=self._first_call, steps=bounds)
        now_open = {call.number: call for call in self.reader.tool_calls(self.run_id, open_only=True)}
        again = [call for number, call in self._open.items() if number not in now_open]
        ended = [self.reader.tool_call(call.run_id, call.step_index, call.key) or call for call in again]
        if new:
            self._first_call = new[-1].number + 1
        self._open = now_open
        numbers = {call.number for call in new}
        return new + [call for call in ended if call.number not in numbers]
