"""What a database must do for the driver, and for those who read it. Nothing here is policy.

A store keeps facts, and refuses writes of processes that do not hold the lease. It does not know what a retry, a doubt
or a pause means.

* `Store` is what the driver uses: all writes, and the reads that it makes between them. They are awaited, so that a
  store may go over a network, and may put several writes into one transaction. When a write returns, it is as durable
  as the store promises.
* `StoreReader` (`store.reader`) is for `explain`, `list`, `watch`, `export` and the like: plain calls, each of which
  leaves no transaction open.

A store is right when it passes `loom_runner.testing.StoreContract`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._model.records import (
        AttemptEnd,
        AttemptRecord,
        Claim,
        ErrorInfo,
        LeaseRecord,
        LeaseRequest,
        NewRun,
        Owner,
        RunRecord,
        RunSummary,
        SignalRecord,
        Spent,
        StepCommit,
        StepRecord,
        ToolEnd,
        ToolRecord,
        ToolStart,
        ToolTry,
    )
    from loom_runner._model.statuses import Status

__all__ = ["Store", "StoreReader"]


class StoreReader(Protocol):
    """Reads of a database, as plain calls."""

    @property
    def description(self) -> str:
        """Name the database for people, for instance in messages. It is not an address: nothing opens it."""

    @property
    def address(self) -> str:
        """What `open_store` and `--db` take to open the database: a path, or a URL without its password."""

    def get_run(self, run_id: str) -> RunRecord | None:
        """Read one run's row."""

    def list_runs(self, *, limit: int = 100, after: RunRecord | None = None) -> list[RunRecord]:
        """Read runs, the latest changed first; `after` is the last run of the page before."""

    def children(self, run_id: str) -> list[RunRecord]:
        """Read the runs that this run has started, in order."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Count runs, tool calls and approvals by status."""

    def summary(self, run_id: str) -> RunSummary:
        """Read sums over a run's steps and calls.

        Raises:
            UnknownRun: There is no such run.
        """

    def steps(self, run_id: str, *, first: int = 0, limit: int = 1000, states: bool = True) -> list[StepRecord]:
        """Read committed steps from number `first` on; those that retention dropped are not among them.

        Without `states` the records' states are None, and reading is cheap whatever their size.
        """

    def state_after(self, run_id: str, step_index: int) -> str:
        """Read the state after a step; after step -1 it is the run's input.

        Raises:
            UnknownRun: There is no such run.
            UnknownStep: It has not come to this step.
            StepPruned: Retention dropped the step. The error names the nearest one that is kept.
        """

    def attempts(self, run_id: str) -> list[AttemptRecord]:
        """Read the attempts that did not commit."""

    def tool_calls(
        self, run_id: str | None = None, *, open_only: bool = False, first: int = 0, limit: int = -1, whole: bool = True
    ) -> list[ToolRecord]:
        """Read tool calls of one run or of all, in order of their first start.

        Args:
            open_only: Those without an end.
            first: From this call number on.
            limit: So many at most; a negative number is all.
            whole: False gives a large argument or result as a JSON object with its hash, size and head instead.
        """

    def tool_call(self, run_id: str, step_index: int, key: str) -> ToolRecord | None:
        """Read one tool call."""

    def tool_tries(self, run_id: str) -> list[ToolTry]:
        """Read the earlier tries of calls that were repeated."""

    def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> list[ApprovalRecord]:
        """Read the requests for approval of one run or of all, in order."""

    def leases(self, run_id: str) -> list[LeaseRecord]:
        """Read which processes held the run, in order."""

    def signals(self, run_id: str, *, name: str | None = None) -> list[SignalRecord]:
        """Read a run's signals in the order in which they came; with `name`, those that wait to be taken."""


class Store(Protocol):
    """The seam between the driver and a database.

    Every write that takes a `Claim` raises `LeaseLost`, and changes nothing, when the claim's fence is no longer
    the run's.

    Every write that may end the wait of a waiting run also stores from when on it is ready, by
    `loom_runner.store.ready_at`.
    """

    @property
    def description(self) -> str:
        """Name the database for people, for instance in messages. It is not an address: nothing opens it."""

    @property
    def address(self) -> str:
        """What `open_store` and `--db` take to open the database: a path, or a URL without its password."""

    @property
    def reader(self) -> StoreReader:
        """Reads that are not the driver's."""

    # ------------------------------------------------------------------ runs and leases

    async def create_run(self, run: NewRun, lease: LeaseRequest) -> Claim | None:
        """Create a run and claim it; None when the id is taken."""

    async def add_run(self, run: NewRun) -> bool:
        """Create a run that nobody holds: `waiting` when it has a wait, else `created`; False when the id is taken."""

    async def claim_run(self, seen: RunRecord, lease: LeaseRequest, *, take_over: bool) -> Claim | None:
        """Claim a run that still looks as `seen`; None when it does not, or somebody holds it.

        With `take_over` the caller knows that the holder in `seen` is gone, and its lease is not waited for. A run
        that was being driven gets an attempt row of kind `interrupted`, and one more crash in its row. The run's
        program becomes that of the request.
        """

    def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        """Prolong the leases of these claims; return those that are lost.

        Not awaited: the heartbeat's own thread calls this, also while a step blocks the event loop.
        """

    async def replace_state(self, claim: Claim, state: str, version: int) -> None:
        """Write the present state anew, in the form of another version."""

    # ------------------------------------------------------------------ steps and attempts

    async def commit_step(self, claim: Claim, step: StepCommit) -> None:
        """Commit one step: its row, the run's row, its children's rows and the lease's end, in one transaction.

        Raises:
            PauseRequested: The run was to go on, and somebody asked it to pause.
        """

    async def end_attempt(self, claim: Claim, end: AttemptEnd) -> None:
        """Record the end of an attempt that commits no step."""

    # ------------------------------------------------------------------ tool calls and approvals

    async def start_tool(self, claim: Claim, call: ToolStart) -> ToolRecord | None:
        """Record that a tool call starts; None when it is new, else the row that was there, unchanged."""

    async def restart_tool(self, claim: Claim, call: ToolStart) -> None:
        """Record that a call which is on record starts once more."""

    async def end_tool(self, claim: Claim, step_index: int, key: str, end: ToolEnd) -> None:
        """Record how a tool call ended."""

    async def decide_tool(self, seen: ToolRecord, end: ToolEnd, decided_by: str) -> bool:
        """Record a decision about a call that still looks as `seen`; False when it does not."""

    async def update_approval(self, seen: ApprovalRecord, after: ApprovalRecord) -> bool:
        """Write a request that is still as `seen`; False when it is not.

        New requests are written by `end_attempt`, and used up by `start_tool`, in their transactions.
        """

    # ------------------------------------------------------------------ requests from outside

    async def cancel_runs(self, run_id: str, statuses: Sequence[Status], error: ErrorInfo, at: int) -> list[str]:
        """Cancel a run and its descendants, those that are in one of `statuses`; return their ids.

        Their fences are raised, so that a process which drives one of them can write nothing more.
        """

    async def request_pause(self, run_id: str, at: int) -> list[str]:
        """Let a run and its descendants pause: `running` ones after their step, `created` ones now; return their
        ids."""

    async def set_budget(self, run_id: str, budget: str) -> None:
        """Write a run's budget (JSON)."""

    async def send_signal(self, run_id: str, name: str, payload: str, at: int) -> None:
        """Store a signal for a run.

        Raises:
            UnknownRun: There is no such run.
        """

    # ------------------------------------------------------------------ reads of the driver

    async def get_run(self, run_id: str) -> RunRecord | None:
        """Read one run's row."""

    async def statuses(self, run_ids: Sequence[str]) -> dict[str, tuple[Status, int]]:
        """Read the status and the fence of each of these runs, and nothing else; those that are not there are left
        out."""

    async def spent_by_descendants(self, run_id: str) -> Spent:
        """Add up what a run's children, and theirs, have used."""

    async def ready_runs(self, programs: Sequence[str], now: int, *, limit: int = 100) -> list[RunRecord]:
        """Read runs of these programs that a process can resume now, those that are due longest first.

        Created ones; waiting ones whose `ready_at` has come; interrupted ones; and those whose lease has run out.
        """

    async def holders(self, programs: Sequence[str]) -> list[tuple[str, str, Owner]]:
        """Read who holds which run of these programs under a lease that lasts: run, program, process."""

    async def tool_call(self, run_id: str, step_index: int, key: str) -> ToolRecord | None:
        """Read one tool call."""

    async def approvals(self, run_id: str) -> list[ApprovalRecord]:
        """Read a run's requests for approval, in order."""

    async def approval_of(self, run_id: str, step_index: int, key: str) -> ApprovalRecord | None:
        """Read the request for one tool call."""

    async def signals(self, run_id: str, *, name: str) -> list[SignalRecord]:
        """Read the signals of a name that wait to be taken, in the order in which they came."""

    # ------------------------------------------------------------------ the database

    def change_mark(self) -> object:
        """Return a value that is another one after any write to the database, by whatever process."""

    async def wait_for_change(self, since: object, timeout_s: float) -> bool:
        """Wait until `change_mark()` is no longer `since`; False when the time is over first."""

    def close(self) -> None:
        """Close the database. Closing twice is harmless."""
