"""What each role of a team keeps between its steps. Plain data; everything a later process needs is in it.

A team works on the text of the runbook as it was when the run began: it travels in the states, so that a file that is
edited in the meantime changes nothing of a run that was approved step by step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loom_ops._parse import parse_runbook
from loom_ops._render import input_values
from loom_ops._runbook import Check, Run, Runbook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Executing", "ExecutorPhase", "Outcome", "Planning", "Request", "Supervising", "Verifying", "undo_of"]

Outcome = Literal[
    "recovered", "done", "nothing to do", "not begun", "denied", "failed", "stopped", "not recovered", "taken back"
]
"""How the executor ended. The first three are good; after the others what was done has been taken back."""

ExecutorPhase = Literal["forward", "back"]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for.

    Args:
        incident: In the words of whoever asked.
        requester: Who asked.
        inputs: The values of the runbook's inputs, checked.
        drill: The folder of the drill; None outside one.
        model: Who plans: `mock`, `script:` and a path, or `provider:model`.
    """

    incident: str
    requester: str
    source: str
    text: str
    inputs: dict[str, str]
    drill: str | None = None
    model: str = "mock"

    @property
    def runbook(self) -> Runbook:
        """Read the runbook again; it was read without errors before the run began."""
        runbook, problems = parse_runbook(self.text, self.source)
        if runbook is None:
            raise ValueError(f"the stored runbook {self.source} cannot be read: {problems}")
        return runbook

    @property
    def checks(self) -> tuple[Check, ...]:
        return tuple(step for step in self.runbook.steps if isinstance(step, Check))

    def values(self) -> dict[str, str]:
        return input_values(self.runbook, self.inputs, {})


@dataclass(frozen=True, slots=True)
class Planning:
    """The planner's.

    Args:
        known: What earlier runs found out, for the model.
        refused: Plans that were not valid, each with the reason.
    """

    request: Request
    known: str
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Executing:
    """The executor's.

    Args:
        plan: Ids of steps, in their order.
        position: The next of them.
        reports: What became of each step that was made, in order, taking back included.
        phase: `back` when what was done is being taken back.
        undo: The ids of steps that are still to take something back.
        ends_as: How it will end; known once it goes back.
    """

    request: Request
    plan: tuple[str, ...]
    position: int = 0
    reports: tuple[dict[str, Any], ...] = ()
    phase: ExecutorPhase = "forward"
    undo: tuple[str, ...] = ()
    ends_as: Outcome | None = None
    why: str = ""

    @classmethod
    def to_take_back(cls, request: Request, reports: Sequence[Mapping[str, Any]]) -> Executing:
        """Return the state of an executor that only takes back what another one has done, the last first."""
        undo = undo_of(request.runbook, reports)
        return cls(request, (), phase="back", undo=undo, ends_as="taken back", why="somebody asked for it")


def undo_of(runbook: Runbook, reports: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the ids of the steps that take back what was done and not yet taken back, the last first."""
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
class Verifying:
    """The verifier's.

    Args:
        executor: The run that it watches.
        rounds: How often it has looked.
        held: The checks that held at the first look.
        failures: How often in a row one of those has failed since.
        stopped: The executor was asked to stop.
        last: What the last look found.
    """

    request: Request
    executor: str
    rounds: int = 0
    held: tuple[str, ...] = ()
    failures: int = 0
    stopped: bool = False
    last: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Supervising:
    """The supervisor's."""

    request: Request
    phase: Literal["plan", "act", "close"] = "plan"
    known: str = ""
    plan: tuple[str, ...] = ()
    reason: str = ""
