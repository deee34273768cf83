"""The questions about many runs, and about long ones, that a store answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from loom_runner._model.folded import Counted, FoldedCalls
from loom_runner._model.records import AttemptRecord, ErrorInfo
from loom_runner._model.run_filter import RunFilter
from loom_runner._model.writes import AttemptEnd, ToolEnd
from loom_runner.testing._contract_base import ALICE, CALL, LAST, NEW, STEP, ContractBase, run

if TYPE_CHECKING:
    from loom_runner._store.protocol import Store

__all__ = ["QueryContract"]


class QueryContract(ContractBase):
    """Lists of runs, and sums over the steps of a run."""

    def test_a_list_is_filtered_by_status_program_and_id(self, store: Store) -> None:
        for number, (name, program) in enumerate((("a-1", "one"), ("a-2", "two"), ("b-1", "one"), ("a-3", "one"))):
            new = replace(NEW, run_id=name, program=program, at=number)
            claim = run(store.create_run(new, replace(ALICE, program=program)))
            if name != "a-3":
                run(store.commit_step(claim, replace(LAST, ended_at=2_000 + number)))

        def ids(which: RunFilter, limit: int = 9) -> list[str]:
            return [record.run_id for record in store.reader.list_runs(which=which, limit=limit)]

        assert ids(RunFilter(("completed",))) == ["b-1", "a-2", "a-1"]
        assert ids(RunFilter(("completed", "running"), "one")) == ["b-1", "a-1", "a-3"]
        assert ids(RunFilter(prefix="a-")) == ["a-2", "a-1", "a-3"]
        assert ids(RunFilter(text="-1"), 1) == ["b-1"]
        assert ids(RunFilter(("failed",))) == []
        first = store.reader.list_runs(which=RunFilter(prefix="a-"), limit=1)[0]
        rest = store.reader.list_runs(which=RunFilter(prefix="a-"), after=first)
        assert [record.run_id for record in rest] == ["a-1", "a-3"]

    def test_an_interrupted_run_is_ready_when_its_attempt_is_due(self, store: Store) -> None:
        run(store.end_attempt(self.begin(store), AttemptEnd("paused", 2_000, lease_end="interrupted", due_at=5_000)))
        run(store.end_attempt(self.begin(store, "q"), AttemptEnd("paused", 2_000, lease_end="paused")))
        assert run(store.ready_runs(["step"], 4_999)) == []
        assert [record.run_id for record in run(store.ready_runs(["step"], 5_000))] == ["r"]

    def test_sums_over_steps_are_those_of_the_rows(self, store: Store) -> None:
        claim = self.begin(store)
        failed = AttemptRecord(0, 0, "failed", 500, 900, ErrorInfo("E", "m"), None, 1)
        run(store.end_attempt(claim, AttemptEnd("running", 900, failed=failed)))
        run(store.start_tool(claim, CALL))
        run(store.end_tool(claim, 0, "fetch/0", ToolEnd("done", 1_700, "1")))
        run(store.commit_step(claim, replace(STEP, attempts=2)))
        for index in range(1, 9):
            run(store.commit_step(claim, replace(STEP, step_index=index, ended_at=1_100)))
        run(store.commit_step(claim, replace(LAST, step_index=9)))
        size = store.reader.size_of_run("r")
        assert (size.steps, size.attempts, size.tool_calls, size.leases) == (10, 1, 1, 1)
        sums = store.reader.folded_steps("r", 0, 9)
        assert (sums.count, sums.outcomes) == (9, (Counted("continue", 9),))
        assert (sums.work_us, sums.started_at, sums.ended_at) == (1_000 + 8 * 100, 1_000, 2_000)
        assert (sums.attempts, sums.fences) == ((Counted("failed", 1),), (1, 1))
        assert sums.calls == (FoldedCalls("fetch", "done", 1, 1, 200),)
        assert store.reader.folded_steps("r", 20, 30).count == 0
        assert store.reader.notable_steps("r", each=2) == [0, 1, 8, 9]
        assert store.reader.fences_of_steps("r", [0, 3]) == [1]
        assert [row.attempt for row in store.reader.attempts("r", first=0, stop=1)] == [0]
        assert store.reader.attempts("r", first=1) == []
        assert [call.key for call in store.reader.tool_calls("r", steps=(0, 1))] == ["fetch/0"]
        assert store.reader.tool_calls("r", steps=(1, 9)) == []
        assert store.reader.tool_calls("r", decided_only=True) == []
        summary = store.reader.summary("r")
        assert (summary.steps, summary.failed_attempts, summary.attempts_us, summary.processes) == (10, 1, 400, 1)
        assert store.reader.last_module("r") == ALICE.module
