"""Every error of the package; each message says *cannot X: because Y. Do Z.*

RunnerError
├── UsageError                the request is not valid here
│   ├── UnknownRun            no run has this id in this database
│   ├── RunExists             the id is taken by a run with another input
│   ├── UnknownToolCall       no tool call has this number, or nothing about it is in doubt
│   ├── UnknownApproval       no approval request has this number
│   ├── UnknownStep           the run has no committed step of this number
│   │   └── StepPruned        it had one, and retention deleted it
│   ├── AgentModuleError      the agent module is missing, broken or offers nothing to run
│   ├── NotOwnFile            somebody else could have written a file that decides, or it is no plain file
│   ├── AnotherSQLite         a second SQLite library in one process, for one file; nothing happened
│   └── IllegalMove           the run's status does not allow this (see `_model/statuses.py`)
├── CommandError              base of the errors of products' commands; has the command's exit code
├── RunBusy                   another live process holds the run
├── PauseRequested            somebody requested a pause: commit the step as the last one (internal)
├── BudgetTimeUsedUp          the step was cancelled: the time of the budget is used up (internal)
├── LeaseLost                 this process lost the run's lease; nothing more is written
├── StoreError                the database
│   ├── StoreUnreadable       a directory, not a database, damaged, or cannot be opened
│   │   ├── StoreDamaged      one value cannot be read; the rest can
│   │   ├── StoreForeign      it holds objects that are not of loom
│   │   └── StoreLocked       it is encrypted, and the key is missing or wrong
│   ├── StoreReadOnly         a write to a file that cannot be written
│   ├── StoreTooNew           written by a later version of this package
│   ├── StoreReplaced         the file was deleted or replaced while it was open; nothing is saved
│   ├── StoreUnlocked         another SQLite library released the locks of this process
│   ├── StoreForked           opened by another process, from which this one was forked
│   └── StoreBusy             another writer kept the database locked for too long, or the disk is full
│       └── WriteLocked       another writer has it locked at this moment: wait, and try again (internal)
├── StateError                a value of a step
│   ├── StateEncodeError      a state or result that cannot be encoded as JSON of its type
│   ├── PayloadTooLarge       a state or a payload above the store's limit
│   ├── StateDecodeError      a stored state that the present code cannot decode
│   └── OutcomeError          a step returned something that is not an outcome
└── ToolError                 a managed tool call
    ├── UnknownTool           no tool of this name is registered
    ├── ToolCallMismatch      the same idempotency key came with other arguments
    ├── ApprovalTampered      the decisions about a call do not verify; it was not started
    ├── OutcomeUnknown        raised by a tool: it started, and its outcome is unknown
    └── ToolFailed            the tool ended with an error
"""

# ruff: noqa: N818  (the names describe the condition; a suffix Error would add nothing)
from __future__ import annotations

import copyreg
from datetime import timedelta

__all__ = [
    "AgentModuleError",
    "AnotherSQLite",
    "ApprovalTampered",
    "BudgetTimeUsedUp",
    "CommandError",
    "IllegalMove",
    "LeaseLost",
    "NotOwnFile",
    "OutcomeError",
    "OutcomeUnknown",
    "PauseRequested",
    "PayloadTooLarge",
    "RunBusy",
    "RunExists",
    "RunnerError",
    "StateDecodeError",
    "StateEncodeError",
    "StateError",
    "StepPruned",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreForeign",
    "StoreForked",
    "StoreLocked",
    "StoreReadOnly",
    "StoreReplaced",
    "StoreTooNew",
    "StoreUnlocked",
    "StoreUnreadable",
    "ToolCallMismatch",
    "ToolError",
    "ToolFailed",
    "UnknownApproval",
    "UnknownRun",
    "UnknownStep",
    "UnknownTool",
    "UnknownToolCall",
    "UsageError",
    "WriteLocked",
]


class RunnerError(Exception):
    """Base class of the errors that this package raises.

    The fields beside the text are None where they have no meaning.
    """

    def __init__(self, message: str, *, run_id: str | None = None, step_index: int | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.step_index = step_index

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the text and the fields, whatever parameters a subclass has."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class UsageError(RunnerError):
    """The request is not valid here; nothing was changed."""


class CommandError(RunnerError):
    """A command did nothing, and the message says why. Products derive their own errors from it.

    Args:
        message: *cannot X: because Y. Do Z.*
        exit_code: The exit code of the command, one of `loom_runner.cli_base.ExitCode`; 2 is
            *usage*.
        run_id: The run concerned.
    """

    def __init__(self, message: str, *, exit_code: int = 2, run_id: str | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.exit_code = exit_code


class UnknownRun(UsageError):
    """No run has this id in this database. Not raised for a run that has ended."""


class RunExists(UsageError):
    """The id is taken by a run that was started with another input.

    Starting again with the *same* input is not an error: it attaches to the run.
    """


class UnknownToolCall(UsageError):
    """No tool call has this number, or nothing about it is in doubt."""


class UnknownApproval(UsageError):
    """The run has no approval request of this number."""


class UnknownStep(UsageError):
    """The run has no committed step of this number: not yet, or the number is negative."""


class StepPruned(UnknownStep):
    """The step was committed, and retention deleted its row.

    Attributes:
        nearest: The number of the nearest step that still has a row; None when there is none.
    """

    def __init__(self, message: str, *, run_id: str, step_index: int, nearest: int | None) -> None:
        super().__init__(message, run_id=run_id, step_index=step_index)
        self.nearest = nearest


class AgentModuleError(UsageError):
    """The agent module is missing, cannot be imported, or offers nothing to run."""


class NotOwnFile(UsageError):
    """A file is not used, because somebody else could have written it, or it is no plain file.

    The text says why and what to do, in two sentences, to follow "cannot read FILE: ".
    """


class AnotherSQLite(UsageError):
    """A second SQLite library in this process, for instance Python's `sqlite3`, opens a file that a
    store has open, or a store opens a file that it has open. Nothing was opened.

    Not raised for other processes, and not for a URI with `immutable=1`. Use `Runs(store).query`.
    """


class IllegalMove(UsageError):
    """The run's status does not allow the operation. The message lists what it allows."""


class RunBusy(RunnerError):
    """Another live process (or task) holds the run's lease.

    Wait for it, or stop it. The lease of a process that has ended can be claimed at once on the
    same machine, and after it has expired on any other.
    """


class LeaseLost(RunnerError):
    """This process held the run's lease and lost it, for instance because it was suspended too
    long.

    What it had not committed is discarded. Another process may drive the run now; do not retry.
    """


class PauseRequested(RunnerError):
    """Raised by a store for a step that would continue a run for which a pause was requested.

    Nothing was written; the driver commits the step again, as the last one before the pause.
    """


class BudgetTimeUsedUp(RunnerError):
    """Raised by `run_step` when it cancelled a step because the time of the run's budget is used
    up.

    It is not an error of the step; the run pauses. `limit` names the limit, as in `time_s 60`.
    """

    def __init__(self, limit: str) -> None:
        super().__init__(f"the budget's limit {limit} is reached")
        self.limit = limit


class StoreError(RunnerError):
    """The database cannot be used."""


class StoreUnreadable(StoreError):
    """The path is a directory, is not a database, is damaged, or cannot be opened."""


class StoreDamaged(StoreUnreadable):
    """One stored value cannot be read. The message names it; other values can still be read."""


class StoreLocked(StoreUnreadable):
    """The database is encrypted and no key was given, or a wrong one. Nothing was changed."""


class StoreForeign(StoreUnreadable):
    """The database holds a trigger, a view or another object that is not of loom, which SQLite
    would execute. The message names it; nothing was read or changed.
    """


class StoreReadOnly(StoreError):
    """The database cannot be written. Reading commands still work."""


class StoreTooNew(StoreError):
    """A later version of this package wrote the database. Upgrade the package; nothing was
    changed.
    """


class StoreReplaced(StoreError):
    """The database or its log was deleted, moved or replaced while this process had it open.

    Nothing is saved any more, and every later write raises this error. What was committed can still
    be written to a new file with `Runs(store).backup(path)`.
    """


class StoreUnlocked(StoreError):
    """A second SQLite library in this process used the database, and released the store's locks.

    What was committed before may be damaged; `loom-runner verify` tells. Every later write raises
    this error.
    """


class StoreForked(StoreError):
    """The store was opened by another process, from which this one was forked. Open it again."""


class StoreBusy(StoreError):
    """Nothing was written: the database stayed locked, or the disk is full. A retry is safe."""


class WriteLocked(StoreBusy):
    """Raised inside the store when another process has the database locked at this moment.

    Nothing was written; the store waits, without blocking the event loop, and tries again.
    """


class StateError(RunnerError):
    """A value of a step cannot be stored or read."""


class StateEncodeError(StateError):
    """A state or a result is not of its declared type, or not JSON. Nothing was committed."""


class PayloadTooLarge(StateError):
    """A state, an argument, a payload or a result exceeds the store's limit. Nothing was
    written.
    """


class StateDecodeError(StateError):
    """A stored state cannot be decoded by the present code, which may have changed since.

    Attributes:
        raw: The stored JSON, which is unchanged.
        misfit: The value that does not fit, and why; empty if the reason is another one.
    """

    def __init__(
        self,
        message: str,
        *,
        run_id: str | None = None,
        step_index: int | None = None,
        raw: str | None = None,
        misfit: str = "",
    ) -> None:
        super().__init__(message, run_id=run_id, step_index=step_index)
        self.raw = raw
        self.misfit = misfit


class OutcomeError(StateError):
    """A step returned something that is not an outcome. Nothing was committed."""


class ToolError(RunnerError):
    """A managed tool call cannot start, or did not succeed."""


class UnknownTool(ToolError):
    """No tool of this name is registered. The message lists the names."""


class ToolCallMismatch(ToolError):
    """An idempotency key was used before in this step, with other arguments.

    The step is not deterministic: a later attempt calls the tool with other arguments. The recorded
    result is not returned, because it belongs to another call.
    """


class ApprovalTampered(ToolError):
    """The decisions about a call are not those of people who saw it: a row was changed in the
    database, or decided by a version that did not bind decisions.

    The call was not started, and the run fails with the error category `tampered`.
    """

    error_category = "tampered"


class OutcomeUnknown(ToolError):
    """Raise it inside a tool whose call started and was interrupted, for instance by a lost
    connection.

    The call is then in doubt, as if this process had crashed in it: the tool's `reconcile` or
    `on_doubt` decides. Not for a failure that is certain; that is `ToolFailed`.
    """


class ToolFailed(ToolError):
    """A tool ended with an error; raise it inside a tool to choose the category.

    Args:
        message: What happened, for a person or a model to read.
        error_category: `error`, `transient`, `timeout`, `invalid_arguments`, `bad_result`,
            `in_doubt`, `skipped`, or an identifier of the tool's own.
        retryable: Whether a later attempt of the step may run the tool again. A failure that is not
            retryable is recorded and raised again without running the tool. By default it is
            retryable if `retry_after_s` is given.
        retry_after_s: The earliest time of that attempt, in seconds from now, or as a `timedelta`;
            None is up to the retry policy.
    """

    def __init__(
        self,
        message: str,
        *,
        error_category: str = "error",
        retryable: bool | None = None,
        retry_after_s: float | timedelta | None = None,
        tool: str | None = None,
        run_id: str | None = None,
        step_index: int | None = None,
    ) -> None:
        after_s = retry_after_s.total_seconds() if isinstance(retry_after_s, timedelta) else retry_after_s
        given: object = after_s
        if given is not None and not (
            isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < float("inf")
        ):
            raise UsageError(
                f"cannot use retry_after_s={retry_after_s!r}: it is a number of seconds from 0, or a timedelta."
            )
        super().__init__(message, run_id=run_id, step_index=step_index)
        self.retry_after_s = after_s
        self.message = message
        self.error_category = error_category
        self.retryable = after_s is not None if retryable is None else retryable
        self.tool = tool
