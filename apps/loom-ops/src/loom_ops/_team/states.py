"""The states that the roles of a team store between steps; a later process needs nothing else.

A team uses the text of the runbook from the start of the run: the text is part of the states, so
that editing the file does not change a run that is approved step by step.

The fields are stored. A new field needs a default; another change needs a new version and an
upcaster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from loom_ops._runbook.inputs import input_values
from loom_ops._runbook.model import Check, Run
from loom_ops._runbook.parse import require_runbook
from loom_ops._team.outcomes import Outcome, current_outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loom_ops._runbook.model import Runbook

__all__ = [
    "EXECUTOR_UPCASTERS",
    "EXECUTOR_VERSION",
    "ExecutorState",
    "PlannerState",
    "RunRequest",
    "SupervisorState",
    "VerifierState",
    "steps_to_undo",
]

ExecutorPhase = Literal["forward", "back"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The request of a run.

    Args:
        incident: The incident, in the words of the requester.
        requester: The person who requested the run, as the settings named them then.
        source: The file of the runbook, as it is shown.
        text: The text of the runbook.
        inputs: The checked values of the runbook's inputs.
        drill: The folder of the drill; None outside of one.
        model: The planner's model: `mock`, `script:` and a path, or `provider:model`.
        requester_identity: What the requester's interface had proven; "" in runs of earlier
            versions.
    """

    incident: str
    requester: str
    source: str
    text: str
    inputs: dict[str, str]
    drill: str | None = None
    model: str = "mock"
    requester_identity: str = ""

    @property
    def runbook(self) -> Runbook:
        """The runbook; it was read without errors before the run started."""
        return require_runbook(self.text, self.source)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks of the runbook."""
        return tuple(step for step in self.runbook.steps if isinstance(step, Check))

    def values(self) -> dict[str, str]:
        """Return the value of every input; the environment is not read again."""
        return input_values(self.runbook, self.inputs, {})


@dataclass(frozen=True, slots=True)
class PlannerState:
    """The state of the planner.

    Args:
        known: The facts of earlier runs, as text for the model.
        refused: Plans that were not valid, each with the reason.
    """

    request: RunRequest
    known: str
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ExecutorState:
    """The state of the executor.

    Args:
        plan: Step ids, in order.
        position: The index of the next step of the plan.
        reports: The report of each step that was run, in order, undo steps included.
        phase: `back` during the rollback.
        undo: The ids of the undo steps that are still to be run.
        ends_as: The final outcome; known in phase `back`.
        why: The reason for that outcome.
        is_alone: The last step of the plan was requested alone, without the rest of the runbook.
    """

    request: RunRequest
    plan: tuple[str, ...]
    position: int = 0
    reports: tuple[dict[str, Any], ...] = ()
    phase: ExecutorPhase = "forward"
    undo: tuple[str, ...] = ()
    ends_as: Outcome | None = None
    why: str = ""
    is_alone: bool = False

    @classmethod
    def for_step(cls, request: RunRequest, step_id: str) -> ExecutorState:
        """Return the state of an executor that runs one step of the runbook.

        A `change` is made only while every check passes: they come first. A step that only undoes
        another one is run whatever they say.
        """
        runbook = request.runbook
        is_change = runbook.kind == "change" and step_id not in runbook.undo_only
        checks = request.checks if is_change and runbook.step(step_id).effect == "write" else ()
        return cls(request, (*(check.id for check in checks), step_id), is_alone=True)

    @classmethod
    def for_rollback(cls, request: RunRequest, reports: Sequence[Mapping[str, Any]]) -> ExecutorState:
        """Return the state of an executor that only undoes what another one has done."""
        undo = steps_to_undo(request.runbook, reports)
        return cls(request, (), phase="back", undo=undo, ends_as="rolled_back", why="a rollback was requested")


EXECUTOR_VERSION: Final = 2


def _executor_from_version_1(state: dict[str, Any]) -> dict[str, Any]:
    """Rename the outcomes and the kind of report that had spaces in their names."""
    ends_as = state.get("ends_as")
    reports = [{**report, "kind": report["kind"].replace(" ", "_")} for report in state.get("reports", [])]
    return {**state, "reports": reports, "ends_as": None if ends_as is None else current_outcome(ends_as)}


EXECUTOR_UPCASTERS: Final[Mapping[int, Callable[[Any], Any]]] = {1: _executor_from_version_1}


def steps_to_undo(runbook: Runbook, reports: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the ids of the undo steps for the steps that are not undone yet, last first."""
    undo: list[str] = []
    for report in reports:
        step = runbook.step(report["id"])
        if not isinstance(step, Run) or step.effect != "write" or not report["ok"]:
            continue
        if report.get("takes_back") and step.id in undo:
            undo.remove(step.id)
        elif not report.get("takes_back") and step.undo is not None:
            undo.insert(0, step.undo)
    return tuple(undo)


@dataclass(frozen=True, slots=True)
class VerifierState:
    """The state of the verifier.

    Args:
        executor: The id of the run that it watches.
        rounds: How often it has run the checks.
        held: The checks that passed in the first round.
        failures: The number of consecutive rounds in which one of those has failed since.
        stopped: Whether it has signalled the executor to stop.
        last: The results of the last round.
    """

    request: RunRequest
    executor: str
    rounds: int = 0
    held: tuple[str, ...] = ()
    failures: int = 0
    stopped: bool = False
    last: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class SupervisorState:
    """The state of the supervisor.

    Args:
        known: The facts of earlier runs, for the planner.
        plan: Step ids, in order; known once the planner has ended.
        reason: The planner's reason for them.
    """

    request: RunRequest
    phase: Literal["plan", "act", "close"] = "plan"
    known: str = ""
    plan: tuple[str, ...] = ()
    reason: str = ""
