"""Stores: the protocol that a database implements, its records, and how to open one.

`open_store("runs.sqlite")` is all that most programs need. Another store implements `Store` and
`StoreReader`, and passes `loom_runner.testing.StoreContract`.
"""

from __future__ import annotations

from loom_runner._model.approvals import ApprovalRecord, ApprovalStatus, Decision, DecisionKind
from loom_runner._model.folded import Counted, FoldedCalls, FoldedSteps, RunSize
from loom_runner._model.records import (
    AttemptRecord,
    Claim,
    ErrorInfo,
    LeaseRecord,
    LoggedEvent,
    Owner,
    RunRecord,
    RunSummary,
    SignalRecord,
    Spent,
    StepRecord,
    ToolRecord,
    ToolTry,
)
from loom_runner._model.run_filter import RunFilter
from loom_runner._model.statuses import Status
from loom_runner._model.waits import (
    ChildrenWait,
    DecisionWait,
    RetryWait,
    SignalWait,
    TimerWait,
    WaitFacts,
    WaitFor,
    ready_at,
    wait_from_json,
)
from loom_runner._model.writes import AttemptEnd, Cancelling, LeaseRequest, NewRun, StepCommit, ToolEnd, ToolStart
from loom_runner._store.open import check_database, open_side_tables, open_store
from loom_runner._store.protocol import Store, StoreReader
from loom_runner._store.side_tables import Migration, SideTables

__all__ = [
    "ApprovalRecord",
    "ApprovalStatus",
    "AttemptEnd",
    "AttemptRecord",
    "Cancelling",
    "ChildrenWait",
    "Claim",
    "Counted",
    "Decision",
    "DecisionKind",
    "DecisionWait",
    "ErrorInfo",
    "FoldedCalls",
    "FoldedSteps",
    "LeaseRecord",
    "LeaseRequest",
    "LoggedEvent",
    "Migration",
    "NewRun",
    "Owner",
    "RetryWait",
    "RunFilter",
    "RunRecord",
    "RunSize",
    "RunSummary",
    "SideTables",
    "SignalRecord",
    "SignalWait",
    "Spent",
    "Status",
    "StepCommit",
    "StepRecord",
    "Store",
    "StoreReader",
    "TimerWait",
    "ToolEnd",
    "ToolRecord",
    "ToolStart",
    "ToolTry",
    "WaitFacts",
    "WaitFor",
    "check_database",
    "open_side_tables",
    "open_store",
    "ready_at",
    "wait_from_json",
]
