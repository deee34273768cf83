"""Which edits of a command its runbook and rules allow.

An edit may give inputs of the runbook other values, if the policy says `edits: inputs`, and nothing
else: the command that results is what the runbook would have run with these values, checked by the
patterns of the inputs and allowed by the same rule as before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from loom_ops._approvals.binding import rule_hash
from loom_ops._errors import LoomOpsError
from loom_ops._runbook.inputs import input_values
from loom_ops._runbook.model import Run
from loom_ops._runbook.render import call_of_step, render_step
from loom_ops._runbook.template import SLOT, slots_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loom_ops._commands.allow_rules import Rules
    from loom_ops._runbook.model import Runbook

__all__ = ["edited_arguments"]


def edited_arguments(
    request: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    runbook: Runbook,
    inputs: Mapping[str, str],
    rules: Rules | None,
) -> dict[str, Any]:
    """Return the arguments of an edited command.

    Args:
        request: The request, as `Runs.approvals` returns it.
        given: The arguments that the person wants.
        inputs: The values of the runbook's inputs in this run.

    Raises:
        LoomOpsError: The edit is not allowed; the message begins with *it*.
    """
    original, policy = request["arguments"], request["policy"]
    step = next((step for step in runbook.steps if step.id == original.get("id")), None)
    if policy.get("edits") != "inputs" or not isinstance(step, Run):
        raise LoomOpsError("its runbook allows no edits (edits: none). Deny it, and start a run with other inputs.")
    argv = given.get("argv")
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise LoomOpsError("its argv is not a list of words.")
    values = _values_of(step.argv, argv)
    if values is None:
        raise LoomOpsError(f"its runbook runs {' '.join(step.argv)}, and only its inputs can be edited.")
    checked = input_values(runbook, {**inputs, **values}, {})
    changed = {name for name in values if values[name] != inputs.get(name)}
    undo = None if step.undo is None else runbook.step(step.undo)
    if isinstance(undo, Run) and changed & set(slots_in([*undo.argv, dict(undo.environment)])):
        raise LoomOpsError("its undo step uses the same inputs, and would undo something else.")
    _, wanted = call_of_step(render_step(step, checked), runbook, checked)
    for name in sorted(wanted.keys() | given.keys()):
        if given.get(name) not in (wanted.get(name), original.get(name)) or (name == "argv" and argv != wanted[name]):
            raise LoomOpsError(f"its {name} cannot be edited; only the inputs in its argv can.")
    if policy.get("rule") is None or rule_hash(rules, argv) != policy["rule"]:
        raise LoomOpsError(
            "the allow rule that it was requested under does not allow this. Choose values that it allows, or "
            "deny the request."
        )
    return wanted


def _values_of(template: Sequence[str], argv: Sequence[str]) -> dict[str, str] | None:
    """Return the value of each slot in a command; None when the command has another form."""
    if len(template) != len(argv):
        return None
    values: dict[str, str] = {}
    for ours, theirs in zip(template, argv, strict=True):
        parts = SLOT.split(ours)
        pattern = "".join(re.escape(part) if index % 2 == 0 else "(.+?)" for index, part in enumerate(parts))
        found = re.fullmatch(pattern, theirs, re.DOTALL)
        if found is None:
            return None
        for name, value in zip(parts[1::2], found.groups(), strict=True):
            if values.setdefault(name, value) != value:
                return None
    return values
