"""Fill the steps of a runbook with the inputs of one run, as arguments of tool calls.

References to secrets are not resolved: only the executor resolves them, in variables and headers,
so that no rendered step holds a secret.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from loom_ops._runbook.model import Check, Instruction, Run
from loom_ops._runbook.template import fill, fill_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_ops._runbook.model import Runbook, Step

__all__ = ["call_arguments", "call_of_step", "render_step"]


def render_step(step: Step, values: Mapping[str, str]) -> Step:
    """Return the step with its slots filled."""
    if isinstance(step, Instruction):
        return step
    if isinstance(step, Run):
        environment = {name: fill(value, values) for name, value in step.environment.items()}
        return replace(step, argv=tuple(fill(word, values) for word in step.argv), environment=environment)
    expect = None if step.expect is None else fill(step.expect, values)
    return replace(step, options=fill_all(step.options, values), expect=expect)


def call_of_step(step: Step, runbook: Runbook, values: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the tool and the arguments of the call that runs a rendered step."""
    if isinstance(step, Check):
        return "check", call_arguments(step)
    if isinstance(step, Run):
        return "run_command" if step.effect == "write" else "look", call_arguments(step, runbook, values)
    return "do_by_hand", {"id": step.id, "text": step.text}


def call_arguments(
    step: Check | Run, runbook: Runbook | None = None, values: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the arguments of the tool call for a rendered step; an approval is bound to them.

    Args:
        runbook: Adds to a command its approval policy and the argv of its undo step.
        values: The values of the inputs, for the undo step.
    """
    arguments: dict[str, Any] = {"id": step.id, "timeout_s": step.timeout_s}
    if isinstance(step, Check):
        arguments |= {"kind": step.kind, "options": json.loads(json.dumps(step.options)), "expect": step.expect}
        return arguments | {"retries": step.retries, "interval_s": step.interval_s}
    arguments |= {"argv": list(step.argv), "environment": dict(step.environment), "reason": step.reason}
    if runbook is not None:
        policy = asdict(runbook.policy_of(step))
        if policy["edits"] == "none":
            del policy["edits"]  # so that the arguments of earlier runs stay the same
        arguments["approval"] = policy
        undo = None if step.undo is None else render_step(runbook.step(step.undo), values or {})
        arguments["undo"] = list(undo.argv) if isinstance(undo, Run) else None
    return arguments
