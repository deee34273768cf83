"""The rows, as plain data. The store reads and writes them; the driver decides what they contain.

Times are whole microseconds since 1970 (UTC) of the driver's clock. Only the times of a lease are
those of the database's clock, because two processes must agree about who holds a run. Every
interface shows times as ISO 8601.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_runner._model.statuses import Status
    from loom_runner._model.waits import WaitFor

__all__ = [
    "AttemptRecord",
    "Claim",
    "ErrorInfo",
    "LeaseRecord",
    "LoggedEvent",
    "Owner",
    "ReadyRun",
    "RunRecord",
    "RunSummary",
    "SignalRecord",
    "Spent",
    "StepRecord",
    "ToolRecord",
    "ToolStatus",
    "ToolTry",
]

ToolStatus = Literal["started", "done", "failed", "in_doubt", "retry"]
"""A `started` call without an end is *in doubt* when its process is gone; `retry` is a decision
about it.
"""

StepOutcome = Literal["continue", "complete", "wait", "sleep", "spawn"]
LeaseEnd = Literal["completed", "failed", "waiting", "paused", "interrupted", "parked", "cancelled", "lost"]


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """A stored error. `where` is `FILE:LINE` of the user's code."""

    type: str
    message: str
    category: str = "error"
    where: str | None = None
    traceback: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ErrorInfo:
        return cls(**data)

    def __str__(self) -> str:
        text = f"{self.type}: {self.message}" if self.message else self.type
        return f"{text} ({self.where})" if self.where else text


@dataclass(frozen=True, slots=True)
class Owner:
    """The holder of a lease. `machine` and `process` identify a process even when its pid is
    reused.
    """

    machine: str
    pid: int
    process: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write to one run, until another process claims it. Every write carries the
    fence.
    """

    run_key: int
    run_id: str
    fence: int
    lease_s: float


class ReadyRun(NamedTuple):
    """A run that a process can resume now. Its row is not read, because it may be damaged."""

    run_id: str
    program: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run.

    Attributes:
        step_index: The next step to run, which is also the number of committed steps.
        due_at: When the next attempt, a timer or a timeout is due.
        work_us: The sum of the durations of all committed steps.
        ready_at: When a waiting run can be resumed; None if that is not known.
        code_at: That of the run's last lease; likewise `module`.
        renewed_at: When the holder last renewed its lease; None if there is none.
    """

    run_key: int
    run_id: str
    status: Status
    program: str
    step_index: int
    failures: int
    crashes: int
    due_at: int | None
    state: str
    input: str
    result: str | None
    error: ErrorInfo | None
    wait: WaitFor | None
    fence: int
    owner: Owner | None
    lease_left_s: float
    created_at: int
    updated_at: int
    parent_run_id: str | None = None
    forked_from: dict[str, Any] | None = None
    budget: dict[str, Any] | None = None
    spent_tokens: int = 0
    spent_cost_usd: float = 0.0
    work_us: int = 0
    request: Literal["pause"] | None = None
    state_version: int = 1
    ready_at: int | None = None
    code_at: str | None = None
    module: str | None = None
    renewed_at: int | None = None

    @property
    def is_leased(self) -> bool:
        return self.owner is not None and self.lease_left_s > 0


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease: one process drives a run for some time. `ended_as` is None until it ends."""

    fence: int
    owner: Owner
    code: str
    code_at: str
    first_step: int
    taken_at: int
    ended_at: int | None
    ended_as: LeaseEnd | None
    note: str | None
    module: str | None = None
    state_version: int = 1


@dataclass(frozen=True, slots=True)
class StepRecord:
    step_index: int
    outcome: StepOutcome
    state: str | None
    wait: WaitFor | None
    attempts: int
    started_at: int
    ended_at: int
    fence: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Sums over a run, read in constant time.

    Attributes:
        work_us: The sum of the durations of all committed steps, including pruned ones.
        slowest_step: The number of the slowest step; None if there is none. `slowest_us` is its
            duration.
        tool_calls: How many managed calls are recorded.
        tool_repeated: How many were repeated after a try whose outcome is unknown.
        tool_decided_by: Who decided about calls in doubt.
        repeated_names: Some of the repeated calls: name and step.
        steps: How many committed steps are stored.
        failed_attempts: How many attempts failed; `interrupted_attempts` ended with their process.
        attempts_us: The sum of the durations of these attempts.
        leases: How often a process has claimed the run; `processes` is the number of processes.
    """

    work_us: int
    slowest_step: int | None
    slowest_us: int | None
    tool_calls: int
    tool_failed: int
    tool_repeated: int
    tool_decided_by: tuple[str, ...]
    repeated_names: tuple[tuple[str, int], ...]
    steps: int = 0
    failed_attempts: int = 0
    interrupted_attempts: int = 0
    attempts_us: int = 0
    leases: int = 0
    processes: int = 0


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt that did not commit: it failed, or its process ended (`started_at` is then
    None).
    """

    step_index: int
    attempt: int
    kind: Literal["failed", "interrupted"]
    started_at: int | None
    ended_at: int
    error: ErrorInfo
    retry_at: int | None
    fence: int


@dataclass(frozen=True, slots=True)
class ToolRecord:
    """A managed tool call.

    Attributes:
        number: Its number in the run, from 1; `RUN#NUMBER` identifies the call.
        is_live: Its process still holds the run.
        alive_until: The last time at which its process was certainly alive: the end of its lease,
            or its last renewal.
    """

    number: int
    run_id: str
    step_index: int
    key: str
    name: str
    arguments: str
    arguments_hash: str
    status: ToolStatus
    tries: int
    result: str | None
    error: ErrorInfo | None
    retryable: bool
    started_at: int
    ended_at: int | None
    fence: int
    is_live: bool
    decided_by: str | None
    owner: Owner
    alive_until: int | None = None

    @property
    def is_in_doubt(self) -> bool:
        return self.status == "in_doubt" or (self.status == "started" and not self.is_live)

    @property
    def ran_until(self) -> int | None:
        """When the call ended, or, if its process disappeared, when that was last alive; None while
        it runs.

        The recorded end of a call about which a person has decided is the time of the decision.
        """
        if self.ended_at is not None:
            if self.decided_by is None or self.alive_until is None:
                return self.ended_at
            return max(self.started_at, min(self.ended_at, self.alive_until))
        return max(self.started_at, self.alive_until or self.started_at) if self.is_in_doubt else None


@dataclass(frozen=True, slots=True)
class ToolTry:
    """An earlier try of a repeated call. Without `ended_at` its outcome is unknown."""

    number: int
    ordinal: int
    status: ToolStatus
    started_at: int
    ended_at: int | None
    fence: int
    error: ErrorInfo | None


@dataclass(frozen=True, slots=True)
class Spent:
    """What runs have used: committed steps, tokens, cost, and time inside steps."""

    steps: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    time_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.steps + other.steps,
            self.tokens + other.tokens,
            self.cost_usd + other.cost_usd,
            self.time_s + other.time_s,
        )


@dataclass(frozen=True, slots=True)
class SignalRecord:
    key: int
    name: str
    payload: str
    sent_at: int
    taken_in_step: int | None


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An entry of an `EventLog`.

    Attributes:
        seq: Its number, which grows over the whole database.
        run_id: The run.
        kind: `run` (its status changed), `step`, `attempt`, `tool`, `approval` or `signal`.
        ref: The index of the step, or the number of the tool call, approval or signal; None for
            `run`.
        word: The status, outcome, kind or name that the row had then.
        at_us: Microseconds since 1970.
    """

    seq: int
    run_id: str
    kind: str
    ref: int | None
    word: str
    at_us: int
