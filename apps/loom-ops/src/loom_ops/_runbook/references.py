"""Check the references of a runbook's steps: inputs, approval policies, undo steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_ops._runbook.model import Check, Instruction, Run
from loom_ops._runbook.template import slots_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loom_ops._runbook.draft import Draft
    from loom_ops._runbook.model import Step

__all__ = ["check_references"]


def check_references(draft: Draft) -> None:
    """Record every reference to something that does not exist, and every cyclic undo."""
    steps = {step.id: step for step in draft.steps}
    for step in draft.steps:
        if isinstance(step, Instruction):
            continue
        for slot in sorted(set(_slots(step))):
            if slot not in draft.inputs:
                text = f"step {step.id} uses {{{slot}}}, which is not an input"
                draft.error(step.line, text, "Add it to inputs, or correct the name")
        if isinstance(step, Run):
            _check_run(draft, step, steps)


def _check_run(draft: Draft, step: Run, steps: Mapping[str, Step]) -> None:
    if step.effect == "write" and step.approve not in draft.approvals and step.approve != "default":
        text = f"step {step.id} needs the approval policy {step.approve!r}, which does not exist"
        draft.error(step.line, text, "Add it to approvals")
    if step.undo is not None and step.undo not in steps:
        text = f"undo of {step.id} names {step.undo!r}, which is not a step"
        draft.error(step.line, text, "Name a run block, or write undo=none")
    elif step.undo is not None and not isinstance(steps[step.undo], Run):
        text = f"undo of {step.id} names {step.undo!r}, which runs nothing"
        draft.error(step.line, text, "Name a run block")
    if _is_cyclic(step, steps):
        draft.error(step.line, f"undo of {step.id} leads back to itself", "Write undo=none at the last undo step")


def _slots(step: Check | Run) -> Iterator[str]:
    if isinstance(step, Run):
        yield from slots_in([*step.argv, *step.environment.values()])
    else:
        yield from slots_in([step.expect, dict(step.options)])


def _is_cyclic(step: Run, steps: Mapping[str, Step]) -> bool:
    seen: set[str] = set()
    at: Step | None = step
    while isinstance(at, Run) and at.undo is not None:
        if at.id in seen:
            return at.id == step.id
        seen.add(at.id)
        at = steps.get(at.undo)
    return False
