"""What each role of a team keeps between its steps. Plain data; everything a later process needs is in it.

A team works on the text of the runbook as it was when the run began: it travels in the states, so that a file that is
edited in the meantime changes nothing of a run that was approved step by step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from loom_ops._parse import parse_runbook
from loom_ops._render import input_values
from loom_ops._runbook import Check, Runbook

__all__ = ["Executing", "ExecutorPhase", "Outcome", "Planning", "Request", "Supervising", "Verifying"]

Outcome = Literal["recovered", "done", "nothing to do", "not begun", "denied", "failed", "stopped", "not recovered"]
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
    """

    incident: str
    requester: str
    source: str
    text: str
    inputs: dict[str, str]
    drill: str | None = None

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
