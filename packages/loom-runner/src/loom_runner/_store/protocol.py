"""What a database provides for the driver and for readers. It contains no policy.

A store keeps facts, and refuses writes of processes that do not hold the lease. It does not know
what a retry, a call in doubt or a pause means.

* `Store` is for the driver: all writes, and the reads between them. They are awaited, so that a
  store may use a network, and may combine several writes in one transaction. A write that has
  returned is as durable as the store promises.
* `StoreReader` (`store.reader`) is for `explain`, `list`, `watch`, `export` and other queries:
  plain calls, which leave no transaction open.

An implementation is correct when it passes `loom_runner.testing.StoreContract`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from loom_runner._model.run_filter import ALL_RUNS, RunFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._model.folded import FoldedSteps, RunSize
    from loom_runner._model.records import (
        AttemptRecord,
        Claim,
        ErrorInfo,
        LeaseRecord,
        Owner,
        ReadyRun,
        RunRecord,
        RunSummary,
        SignalRecord,
        Spent,
        StepRecord,
        ToolRecord,
        ToolTry,
    )
    from loom_runner._model.statuses import Status
    from loom_runner._model.writes import AttemptEnd, LeaseRequest, NewRun, StepCommit, ToolEnd, ToolStart

__all__ = ["Store", "StoreReader"]


class StoreReader(Protocol):
    """Reads of a database, as plain calls."""

    @property
    def description(self) -> str:
        """The database's name for people, for instance in messages. It cannot be used to open
        it.
        """

    @property
    def address(self) -> str:
        """What `open_store` and `--db` take: a path, or a URL without its password."""

    def get_run(self, run_id: str) -> RunRecord | None:
        """Return a run's row; None if there is no such run."""

    def list_runs(
        self, *, limit: int = 100, after: RunRecord | None = None, which: RunFilter = ALL_RUNS
    ) -> list[RunRecord]:
        """Return the runs that match a filter, the most recently changed first.

        Args:
            limit: The largest number.
            after: The last run of the previous page.
        """

    def children(self, run_id: str, *, after: RunRecord | None = None, limit: int = -1) -> list[RunRecord]:
        """Return the child runs of a run, in the order of their creation.

        Args:
            after: The last child of the previous page.
            limit: The largest number; a negative number is no limit.
        """

    def counts(self) -> dict[str, dict[str, int]]:
        """Count runs, tool calls and approvals by status."""

    def summary(self, run_id: str) -> RunSummary:
        """Return sums over a run's steps and calls.

        Raises:
            UnknownRun: There is no such run.
        """

    def steps(self, run_id: str, *, first: int = 0, limit: int = 1000, states: bool = True) -> list[StepRecord]:
        """Return committed steps from number `first` on, without those that retention deleted.

        Without `states` the states of the records are None, and the read is cheap whatever their
        size.
        """

    def state_after(self, run_id: str, step_index: int) -> str:
        """Return the state after a step; after step -1 it is the run's input.

        Raises:
            UnknownRun: There is no such run.
            UnknownStep: The run has not committed this step.
            StepPruned: Retention deleted the step. The error names the nearest one that is kept.
        """

    def attempts(
        self, run_id: str, *, first: int = 0, stop: int = 1 << 32, limit: int = -1, newest: bool = False
    ) -> list[AttemptRecord]:
        """Return the attempts that did not commit, in order.

        Args:
            first: Only of steps from this number on; `stop` is the first one after them.
            limit: The largest number; a negative number is no limit.
            newest: Return the last ones instead of the first.
        """

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
        """Return tool calls of one run or of all, in the order of their first start.

        Args:
            open_only: Only calls without a recorded end.
            decided_only: Only calls about which a person has decided after they were in doubt.
            steps: Only calls of the steps from the first number on and before the second.
            first: The number of the first call.
            limit: The largest number of calls; a negative number is no limit.
            whole: If False, a large argument or result is a JSON object with its hash, size and
                head.
        """

    def tool_call(self, run_id: str, step_index: int, key: str) -> ToolRecord | None:
        """Return one tool call; None if it is not recorded."""

    def tool_tries(self, run_id: str, *, steps: tuple[int, int] = (0, 1 << 32)) -> list[ToolTry]:
        """Return the earlier tries of calls that were repeated, of the steps from the first number
        on and before the second.
        """

    def size_of_run(self, run_id: str) -> RunSize:
        """Count the rows of a run."""

    def notable_steps(self, run_id: str, *, each: int) -> list[int]:
        """Return the numbers of the steps that a person looks for in a long run, in order.

        The first and the last `each` of: all steps; those that were tried again, or failed; those
        that did not simply continue; those with a call that failed or was decided about, or with an
        approval request; those at which a process ended badly. And of the steps that took more
        than ten times the average, the ten slowest.
        """

    def folded_steps(self, run_id: str, first: int, stop: int) -> FoldedSteps:
        """Return the sums over the steps from `first` on and before `stop`."""

    def fences_of_steps(self, run_id: str, indexes: Sequence[int]) -> list[int]:
        """Return the fences under which these steps were committed or tried, in order."""

    def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> list[ApprovalRecord]:
        """Return the approval requests of one run or of all, in order."""

    def leases(self, run_id: str, *, fences: Sequence[int] | None = None) -> list[LeaseRecord]:
        """Return which processes held the run, in order; with `fences`, those with these
        numbers.
        """

    def last_module(self, run_id: str) -> str | None:
        """Return the module of the latest lease that records one."""

    def signals(self, run_id: str, *, name: str | None = None) -> list[SignalRecord]:
        """Return a run's signals in the order of arrival; with `name`, those that no step has
        received.
        """


class Store(Protocol):
    """The interface between the driver and a database.

    Every write that takes a `Claim` raises `LeaseLost`, and changes nothing, if the claim's fence
    is no longer the run's.

    Every write that may end the wait of a waiting run also stores when it is ready, as computed by
    `loom_runner.store.ready_at`.
    """

    @property
    def description(self) -> str:
        """The database's name for people, for instance in messages. It cannot be used to open
        it.
        """

    @property
    def address(self) -> str:
        """What `open_store` and `--db` take: a path, or a URL without its password."""

    @property
    def reader(self) -> StoreReader:
        """The reads that are not the driver's."""

    # ------------------------------------------------------------------ runs and leases

    async def create_run(self, run: NewRun, lease: LeaseRequest) -> Claim | None:
        """Create a run and claim it; None if the id is taken."""

    async def add_run(self, run: NewRun) -> bool:
        """Create a run without a holder, `waiting` if it has a wait, else `created`; False if the
        id is taken.
        """

    async def claim_run(self, seen: RunRecord, lease: LeaseRequest, *, take_over: bool) -> Claim | None:
        """Claim a run whose row is still `seen`; None if it has changed, or another process holds
        it.

        With `take_over` the caller knows that the holder in `seen` is gone, and its lease need not
        expire. A run with the status `running` gets an attempt row of kind `interrupted`, and one
        more crash in its row. The run's program becomes that of the request.
        """

    def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        """Renew the leases of these claims; return the claims that are lost.

        Not awaited: the heartbeat's thread calls this, also while a step blocks the event loop.
        """

    async def replace_state(self, claim: Claim, state: str, version: int) -> None:
        """Replace the current state by the same state in another version."""

    # ------------------------------------------------------------------ steps and attempts

    async def commit_step(self, claim: Claim, step: StepCommit) -> None:
        """Commit one step: its row, the run's row, its children's rows and the lease's end, in one
        transaction.

        Raises:
            PauseRequested: The step would continue a run for which a pause was requested.
        """

    async def end_attempt(self, claim: Claim, end: AttemptEnd) -> None:
        """Record the end of an attempt that commits no step."""

    # ------------------------------------------------------------------ tool calls and approvals

    async def start_tool(self, claim: Claim, call: ToolStart) -> ToolRecord | None:
        """Record that a tool call starts; None if it is new, else the existing row, unchanged.

        Raises:
            ApprovalTampered: Its approval does not verify; nothing is written.
        """

    async def restart_tool(self, claim: Claim, call: ToolStart) -> None:
        """Record that a recorded call starts once more.

        Raises:
            ApprovalTampered: Its approval does not verify; nothing is written.
        """

    async def end_tool(self, claim: Claim, step_index: int, key: str, end: ToolEnd) -> None:
        """Record how a tool call ended."""

    async def decide_tool(self, seen: ToolRecord, end: ToolEnd, decided_by: str) -> bool:
        """Record a decision about a call whose row is still `seen`; False if it has changed."""

    async def update_approval(
        self, seen: ApprovalRecord, after: ApprovalRecord, *, also: Callable[[Any], object] | None = None
    ) -> bool:
        """Update a request whose row is still `seen`; False if it has changed.

        An approved repetition lets its call in doubt be repeated. New requests are written by
        `end_attempt`, and approvals are verified and used by `start_tool` and `restart_tool`, in
        their transactions.

        Args:
            also: Called with the connection in the same transaction, after the update.
        """

    # ------------------------------------------------------------------ requests from outside

    async def cancel_runs(self, run_id: str, statuses: Sequence[Status], error: ErrorInfo, at: int) -> list[str]:
        """Cancel a run and its descendants, if their status is one of `statuses`; return their ids.

        Their fences are raised, so that a process that drives one of them can write nothing more.
        """

    async def request_pause(self, run_id: str, at: int) -> list[str]:
        """Pause a run and its descendants, `running` ones after their step, `created` ones now;
        return their ids.
        """

    async def set_budget(self, run_id: str, budget: str) -> None:
        """Write a run's budget (JSON)."""

    async def send_signal(self, run_id: str, name: str, payload: str, at: int) -> None:
        """Store a signal for a run.

        Raises:
            UnknownRun: There is no such run.
        """

    # ------------------------------------------------------------------ reads of the driver

    async def get_run(self, run_id: str) -> RunRecord | None:
        """Return a run's row; None if there is no such run."""

    async def statuses(self, run_ids: Sequence[str]) -> dict[str, tuple[Status, int]]:
        """Return the status and the fence of each of these runs; runs that do not exist are
        omitted.
        """

    async def spent_by_descendants(self, run_id: str) -> Spent:
        """Return the sum of what all descendants of a run have used."""

    async def ready_runs(self, programs: Sequence[str], now: int, *, limit: int = 100) -> list[ReadyRun]:
        """Return runs of these programs that a process can resume now, the longest due first.

        These are created runs, waiting runs whose `ready_at` has passed, interrupted runs, and
        running ones whose lease has expired. One row that cannot be read does not keep the others
        from being found.
        """

    async def holders(self, programs: Sequence[str]) -> list[tuple[str, str, Owner]]:
        """Return the run, program and process of each lease on runs of these programs that has not
        expired.
        """

    async def tool_call(self, run_id: str, step_index: int, key: str) -> ToolRecord | None:
        """Return one tool call; None if it is not recorded."""

    async def approvals(self, run_id: str) -> list[ApprovalRecord]:
        """Return a run's approval requests, in order."""

    async def approval_of(self, run_id: str, step_index: int, key: str) -> ApprovalRecord | None:
        """Return the approval request for one tool call; None if there is none."""

    async def signals(self, run_id: str, *, name: str) -> list[SignalRecord]:
        """Return the signals of a name that no step has received, in the order of arrival."""

    # ------------------------------------------------------------------ the database

    def change_mark(self) -> object:
        """Return a value that changes with every write to the database, by any process."""

    async def wait_for_change(self, since: object, timeout_s: float) -> bool:
        """Wait until `change_mark()` is no longer `since`; False if the time is over first."""

    def close(self) -> None:
        """Close the database. Closing it twice is allowed."""
