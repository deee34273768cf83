"""The rows, as plain data. The store reads and writes them; the driver decides what they say.

Times are whole microseconds since 1970 (UTC), taken from the driver's clock, except a lease's, which the database
takes from its own: two processes must agree about who holds a run. `started_at` and the like become ISO 8601 at
every border.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_runner._model.approvals import ApprovalRecord
    from loom_runner._model.retention import Keep
    from loom_runner._model.statuses import Status

__all__ = [
    "AttemptEnd",
    "AttemptRecord",
    "Cancelling",
    "Claim",
    "ErrorInfo",
    "LeaseRecord",
    "LeaseRequest",
    "NewRun",
    "Owner",
    "RunRecord",
    "RunSummary",
    "SignalRecord",
    "Spent",
    "StepCommit",
    "StepRecord",
    "ToolEnd",
    "ToolRecord",
    "ToolStart",
    "ToolStatus",
    "ToolTry",
]

ToolStatus = Literal["started", "done", "failed", "in_doubt", "retry"]
"""`started` without an end becomes *in doubt* when its process is gone; `retry` is a person's answer to that."""

StepOutcome = Literal["continue", "complete", "wait", "sleep", "spawn"]
LeaseEnd = Literal["completed", "failed", "waiting", "paused", "interrupted", "parked", "cancelled", "lost"]


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An error as it is stored: enough to say what happened without the process that saw it."""

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
    """Who holds a lease. `machine` and `process` together never name two processes, even after a pid is reused."""

    machine: str
    pid: int
    process: str


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Who asks for a run. `module` is the agent module as its caller named it, for hints that can be pasted."""

    owner: Owner
    lease_s: float
    code: str
    code_at: str
    module: str | None = None
    state_version: int = 1


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write to one run, until somebody else claims it. Every write carries the fence."""

    run_key: int
    run_id: str
    fence: int
    lease_s: float


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be made. `budget` is JSON; a fork begins at `step_index` and may wait at once."""

    run_id: str
    program: str
    input: str
    state: str
    at: int
    budget: str | None = None
    state_version: int = 1
    step_index: int = 0
    forked_from: str | None = None
    wait: dict[str, Any] | None = None
    due_at: int | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it stands. `step_index` is the next step to run, which is also the number of committed ones."""

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
    wait: dict[str, Any] | None
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

    @property
    def is_leased(self) -> bool:
        return self.owner is not None and self.lease_left_s > 0


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """One process's time with a run. `ended_as` is None while it lasts."""

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
class Cancelling:
    """Which of a run's descendants to cancel: those in one of these statuses; and the error that they get."""

    statuses: tuple[Status, ...]
    error: ErrorInfo


@dataclass(slots=True)
class StepCommit:
    """All that one step changes, for one transaction. Not frozen: it is made once per step, and this is half the
    price.

    `children` are made in the same transaction; one that is there already is left alone. `cancels` ends those that
    are still open. `tokens` and `cost_usd` are
    what this attempt has spent. `keep` says how much of the history stays; None is the store's own choice.
    """

    step_index: int
    outcome: StepOutcome
    status: Status
    state: str | None
    started_at: int
    ended_at: int
    attempts: int
    result: str | None = None
    wait: dict[str, Any] | None = None
    due_at: int | None = None
    signal_key: int | None = None
    lease_end: LeaseEnd | None = None
    note: str | None = None
    children: tuple[NewRun, ...] = ()
    cancels: Cancelling | None = None
    tokens: int = 0
    cost_usd: float = 0.0
    keep: Keep | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    step_index: int
    outcome: StepOutcome
    state: str | None
    detail: dict[str, Any] | None
    attempts: int
    started_at: int
    ended_at: int
    fence: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Sums over a run, at a price that does not grow with its steps.

    Attributes:
        work_us: The time of all committed steps, dropped ones included.
        slowest_step: The one that took longest, with its time; None before the first.
        tool_calls: The managed calls on record.
        tool_repeated: Those that were made again after a try whose end nobody knows; `repeated_names` are some of them,
            with their steps.
        tool_decided_by: Who decided about calls in doubt.
    """

    work_us: int
    slowest_step: int | None
    slowest_us: int | None
    tool_calls: int
    tool_failed: int
    tool_repeated: int
    tool_decided_by: tuple[str, ...]
    repeated_names: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """A try of a step that did not commit: it failed, or its process disappeared (`started_at` is then unknown)."""

    step_index: int
    attempt: int
    kind: Literal["failed", "interrupted"]
    started_at: int | None
    ended_at: int
    error: ErrorInfo
    retry_at: int | None
    fence: int


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """The end of an attempt that commits no step: what becomes of the run, and the failed try if it counts as one."""

    status: Status
    at: int
    failed: AttemptRecord | None = None
    error: ErrorInfo | None = None
    wait: dict[str, Any] | None = None
    due_at: int | None = None
    lease_end: LeaseEnd | None = None
    note: str | None = None
    asks: tuple[ApprovalRecord, ...] = ()
    tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class ToolStart:
    step_index: int
    key: str
    name: str
    arguments: str
    arguments_hash: str
    at: int
    ordinal: int = 1
    approval: int | None = None


@dataclass(frozen=True, slots=True)
class ToolEnd:
    status: ToolStatus
    at: int | None
    result: str | None = None
    error: ErrorInfo | None = None
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class ToolRecord:
    """One managed tool call. `number` counts in the run from 1, and `RUN#NUMBER` names the call; `is_live` says that
    its process still holds the run."""

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

    @property
    def is_in_doubt(self) -> bool:
        return self.status == "in_doubt" or (self.status == "started" and not self.is_live)


@dataclass(frozen=True, slots=True)
class ToolTry:
    """An earlier try of a call that was made again. Without `ended_at` nobody knows how it ended."""

    number: int
    ordinal: int
    status: ToolStatus
    started_at: int
    ended_at: int | None
    fence: int
    error: ErrorInfo | None


@dataclass(frozen=True, slots=True)
class Spent:
    """What runs have used: committed steps, tokens, money, and time inside steps."""

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
