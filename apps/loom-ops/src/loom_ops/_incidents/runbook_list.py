"""The runbooks that clients may start, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner.cli_base import plural

from loom_ops._errors import RunbookError
from loom_ops._incidents.results import RunbookInput, RunbookStep, RunbookSummary
from loom_ops._runbook.catalog import served_runbooks
from loom_ops._runbook.model import Check, Instruction
from loom_ops._runbook.parse import require_runbook

if TYPE_CHECKING:
    from loom_ops._runbook.model import ApprovalPolicy, Input, Runbook, Step
    from loom_ops._site import Site

__all__ = ["runbook_summaries"]


def runbook_summaries(site: Site) -> list[RunbookSummary]:
    """Return the runbooks of a site that clients may start; one with errors says so."""
    found = []
    for name, (source, text) in served_runbooks(site).items():
        try:
            found.append(_summary(require_runbook(text, source)))
        except RunbookError as exc:
            found.append(RunbookSummary(name, name, "", "", source, [], [], str(exc)))
    return found


def _summary(runbook: Runbook) -> RunbookSummary:
    return RunbookSummary(
        name=runbook.name,
        title=runbook.title,
        summary=runbook.summary,
        kind=runbook.kind,
        source=runbook.source,
        inputs=[_input(each) for each in runbook.inputs.values()],
        steps=[_step(each, runbook) for each in runbook.steps],
    )


def _input(declared: Input) -> RunbookInput:
    return RunbookInput(
        declared.name,
        declared.type,
        "" if declared.pattern is None else declared.pattern.pattern,
        list(declared.enum),
        declared.default,
        declared.variable or "",
        declared.description,
    )


def _step(step: Step, runbook: Runbook) -> RunbookStep:
    if isinstance(step, Check):
        what = f"{step.kind}, expects {step.expect or 'an answer'}"
        return RunbookStep(step.id, "check", "read", what, False, "", "", False)
    if isinstance(step, Instruction):
        people = _people(runbook.by_hand_policy)
        return RunbookStep(step.id, "by_hand", "write", " ".join(step.text.split()), True, people, "", False)
    writes = step.effect == "write"
    return RunbookStep(
        id=step.id,
        kind="run",
        effect=step.effect,
        what=" ".join(step.argv),
        needs_approval=writes,
        approved_by=_people(runbook.policy_of(step)) if writes else "",
        undo=step.undo or "",
        only_undoes=step.id in runbook.undo_only,
    )


def _people(policy: ApprovalPolicy) -> str:
    who = (
        f"one of {policy.group}"
        if policy.count == 1
        else f"{plural(policy.count, 'person', 'people')} of {policy.group}"
    )
    return f"{who}, not the requester" if policy.not_requester else who
