"""Every error of the package; each message says *cannot X: because Y. Do Z.*

RunnerError
├── UsageError                what was asked for makes no sense here
│   ├── UnknownRun            no run has this id in this database
│   ├── RunExists             the id is taken by a run with another input
│   ├── UnknownToolCall       no tool call has this number, or nothing about it is in doubt
│   ├── UnknownApproval       no request for approval has this number
│   ├── UnknownStep           the run has no committed step of this number
│   │   └── StepPruned        it had one, and retention dropped it
│   ├── AgentModuleError      the agent module is missing, broken or offers nothing to run
│   └── IllegalMove           the run's status does not allow this (see the table in `_states`)
├── RunBusy                   another live process holds the run
├── PauseAsked                the run was asked to pause: commit the step as its last (never leaves the driver)
├── LeaseLost                 this process held the run and lost it; nothing more is written
├── StoreError                the database
│   ├── StoreUnreadable       a directory, not a database, damaged, or cannot be opened
│   │   ├── StoreDamaged      one value cannot be read; the rest can
│   │   └── StoreLocked       it is encrypted, and the key is missing or another one
│   ├── StoreReadOnly         writing was asked for and the file does not allow it
│   ├── StoreTooNew           written by a later version of this package
│   └── StoreBusy             another writer kept the database locked for too long, or the disk is full
├── StateError                the value of a step
│   ├── StateEncodeError      a state or result that cannot be written as JSON of its type
│   ├── PayloadTooLarge       a state or a payload above the store's cap
│   ├── StateDecodeError      a stored state that the code at hand cannot read
│   └── OutcomeError          a step returned something that is not an outcome
└── ToolError                 a managed tool call
    ├── UnknownTool           no tool of this name is registered
    ├── ToolCallMismatch      the same idempotency key came with other arguments
    ├── OutcomeUnknown        raised by a tool: it began, and nobody can say how it ended
    └── ToolFailed            the tool ended with an error
"""

# ruff: noqa: N818  (an error is named for what is the matter; the word Error adds nothing)
from __future__ import annotations

__all__ = [
    "AgentModuleError",
    "IllegalMove",
    "LeaseLost",
    "OutcomeError",
    "OutcomeUnknown",
    "PauseAsked",
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
    "StoreLocked",
    "StoreReadOnly",
    "StoreTooNew",
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
]


class RunnerError(Exception):
    """Base of every error that this package raises on purpose.

    The fields beside the text are None where they have no meaning.
    """

    def __init__(self, message: str, *, run_id: str | None = None, step_index: int | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.step_index = step_index


class UsageError(RunnerError):
    """What was asked for makes no sense here; nothing was changed."""


class UnknownRun(UsageError):
    """No run has this id in this database. Not raised for a run that is finished."""


class RunExists(UsageError):
    """The id is taken by a run that was started with another input.

    Starting again with the *same* input is not an error: it attaches to the run.
    """


class UnknownToolCall(UsageError):
    """No tool call has this number, or nothing about it is in doubt."""


class UnknownApproval(UsageError):
    """The run has no request for approval of this number."""


class UnknownStep(UsageError):
    """The run has no committed step of this number: it has not come so far, or the number is negative."""


class StepPruned(UnknownStep):
    """The step was committed, and retention dropped its row. The message names the nearest one that is kept.

    `nearest` is that step's number, or None when none is kept.
    """

    def __init__(self, message: str, *, run_id: str, step_index: int, nearest: int | None) -> None:
        super().__init__(message, run_id=run_id, step_index=step_index)
        self.nearest = nearest


class AgentModuleError(UsageError):
    """The agent module is missing, cannot be imported, or offers nothing to run."""


class IllegalMove(UsageError):
    """The run's status does not allow what was asked. The message lists what is allowed."""


class RunBusy(RunnerError):
    """Another live process (or task) holds the run's lease.

    Wait for it, or stop it: the lease of a process that is gone is taken over at once on the same machine,
    and after its time on any other.
    """


class LeaseLost(RunnerError):
    """This process held the run and lost it, for instance because it slept past its lease.

    What it had not committed is dropped. Another process owns the run now; do not retry.
    """


class PauseAsked(RunnerError):
    """Raised by a store for a step after which the run was to go on, when somebody asked the run to pause.

    Nothing was written; the driver commits the step as the last one of its slice.
    """


class StoreError(RunnerError):
    """The database cannot be used."""


class StoreUnreadable(StoreError):
    """The path is a directory, is not a database, is damaged, or cannot be opened."""


class StoreDamaged(StoreUnreadable):
    """One stored value cannot be read. The message names it; everything that does not depend on it can be read."""


class StoreLocked(StoreUnreadable):
    """The database is encrypted and the key that was given, if any, does not open it. Nothing was changed."""


class StoreReadOnly(StoreError):
    """Writing was asked for and the database does not allow it. Reading commands still work."""


class StoreTooNew(StoreError):
    """A later version of this package wrote the database. Upgrade the package; nothing was changed."""


class StoreBusy(StoreError):
    """The write did not happen: the database stayed locked, or the disk is full. Trying again is safe."""


class StateError(RunnerError):
    """A value of a step cannot be stored or read back."""


class StateEncodeError(StateError):
    """A state or a result is not of its declared type, or cannot be written as JSON. Nothing was committed."""


class PayloadTooLarge(StateError):
    """A state, an argument, a payload or a result is above the cap of the store. Nothing was written or cut."""


class StateDecodeError(StateError):
    """A stored state cannot be read by the code at hand, which may have changed since.

    The stored JSON is untouched and in `raw`.
    """

    def __init__(
        self, message: str, *, run_id: str | None = None, step_index: int | None = None, raw: str | None = None
    ) -> None:
        super().__init__(message, run_id=run_id, step_index=step_index)
        self.raw = raw


class OutcomeError(StateError):
    """A step returned something that is not an outcome. Nothing was committed."""


class ToolError(RunnerError):
    """A managed tool call cannot be made or did not succeed."""


class UnknownTool(ToolError):
    """No tool of this name is registered. The message lists the names."""


class ToolCallMismatch(ToolError):
    """A key that was used before in this step came back with other arguments.

    The step is not repeatable as written: it asked for something else on its second attempt. The recorded result is
    not returned, because it answers another question.
    """


class OutcomeUnknown(ToolError):
    """Raise it inside a tool whose call began and was cut off, for instance because its server died.

    The call is then in doubt, as if this process had died in it: the tool's `on_doubt` or `reconcile` decides. Not for
    a failure that is certain; that is `ToolFailed`.
    """


class ToolFailed(ToolError):
    """A tool ended with an error; raise it inside a tool to choose the category.

    Args:
        message: What happened, for a person or a model to read.
        error_category: One word: `error`, `transient`, `timeout`, `invalid_arguments`, `bad_result`, `in_doubt`,
            `skipped`, or a word of the tool's own.
        retryable: Whether a later attempt of the step may run the tool again. A failure that is not retryable is
            recorded and raised again without running the tool.
    """

    def __init__(
        self,
        message: str,
        *,
        error_category: str = "error",
        retryable: bool = False,
        tool: str | None = None,
        run_id: str | None = None,
        step_index: int | None = None,
    ) -> None:
        super().__init__(message, run_id=run_id, step_index=step_index)
        self.message = message
        self.error_category = error_category
        self.retryable = retryable
        self.tool = tool
