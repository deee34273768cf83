"""Fill a runbook's templates with the inputs of one run.

Every value is checked against its input before it is put anywhere, whole texts only. A value never becomes more than
one argument of a command, and no shell will read it; a value that begins with `-` is refused all the same, because
the program could take it for an option. References to secrets are left as they are: only the executor resolves them,
in variables and headers, so that no rendered step holds a secret.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from loom_ops._errors import LoomOpsError
from loom_ops._parse import SLOT, plain
from loom_ops._runbook import ApprovalPolicy, Check, Input, Instruction, Run, Runbook, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SECRET", "input_values", "rendered", "step_json"]

SECRET: Final = re.compile(r"\{secret\.([A-Za-z_][A-Za-z0-9_]*)\}")
"""`{secret.name}` in a variable or a header."""

MAX_VALUE: Final = 1_000


def input_values(
    runbook: Runbook, given: Mapping[str, object], environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the text of every input.

    Raises:
        LoomOpsError: A value is missing, unknown or not allowed. The value itself is shown, shortened.
    """
    environment = os.environ if environment is None else environment
    unknown = sorted(given.keys() - runbook.inputs.keys())
    if unknown:
        known = ", ".join(runbook.inputs) or "none"
        raise LoomOpsError(f"cannot run {runbook.name}: {unknown[0]!r} is no input of it. Its inputs: {known}.")
    values = {}
    for name, declared in runbook.inputs.items():
        if name in given:
            values[name] = _value(runbook, declared, given[name])
        elif declared.variable is not None and environment.get(declared.variable):
            values[name] = _value(runbook, declared, environment[declared.variable])
        elif declared.default is not None:
            values[name] = _value(runbook, declared, declared.default)
        else:
            other = "" if declared.variable is None else f", or set {declared.variable}"
            raise LoomOpsError(
                f"cannot run {runbook.name}: the input {name!r} is not given. Add --input {name}=VALUE{other}."
            )
    return values


def _value(runbook: Runbook, declared: Input, given: object) -> str:
    text = given if isinstance(given, str) else plain(given)
    why = _objection(declared, text)
    if why is not None:
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        raise LoomOpsError(f"cannot run {runbook.name}: {shown!r} for the input {declared.name!r} {why}.")
    return text


def _objection(declared: Input, text: str) -> str | None:
    if not text:
        return "is empty"
    if len(text) > MAX_VALUE:
        return f"is longer than {MAX_VALUE} characters"
    if text.startswith("-") and declared.type not in ("integer", "number"):
        return "begins with '-', which a program would take for an option"
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in text):
        return "has a character that cannot be seen"
    forms = {"integer": r"-?\d{1,18}", "number": r"-?\d{1,18}(\.\d{1,18})?", "boolean": "true|false"}
    if declared.type in forms and not re.fullmatch(forms[declared.type], text, re.ASCII):
        return f"is not of type {declared.type}"
    if declared.enum and text not in declared.enum:
        return f"is not one of {', '.join(declared.enum)}"
    if declared.pattern is not None and not declared.pattern.fullmatch(text):
        return f"does not match {declared.pattern.pattern}"
    return None


def rendered(step: Step, values: Mapping[str, str]) -> Step:
    """Return the step with its slots filled."""
    if isinstance(step, Instruction):
        return step
    if isinstance(step, Run):
        environment = {name: fill(value, values) for name, value in step.environment.items()}
        return replace(step, argv=tuple(fill(word, values) for word in step.argv), environment=environment)
    expect = None if step.expect is None else fill(step.expect, values)
    url_safe = _filled(step.options, values)
    return replace(step, options=url_safe, expect=expect)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill the slots of one text. A slot that no value has stays, so that it is seen."""
    return SLOT.sub(lambda slot: values.get(slot[1], slot[0]), template)


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, dict):
        return {key: _filled(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, values) for part in value]
    return value


def step_json(
    step: Check | Run, runbook: Runbook | None = None, values: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what a tool call of a rendered step is given: all that it does, and what an approval is bound to.

    Args:
        runbook: Adds to a command how it is taken back, and by whose word it runs.
    """
    found: dict[str, Any] = {"id": step.id, "timeout_s": step.timeout_s}
    if isinstance(step, Check):
        found |= {"kind": step.kind, "options": json.loads(json.dumps(step.options)), "expect": step.expect}
        return found | {"retries": step.retries, "interval_s": step.interval_s}
    found |= {"argv": list(step.argv), "environment": dict(step.environment), "reason": step.reason}
    if runbook is not None:
        policy = runbook.approvals.get(step.approve, ApprovalPolicy())
        found["approval"] = asdict(policy)
        undo = None if step.undo is None else rendered(runbook.step(step.undo), values or {})
        found["undo"] = list(undo.argv) if isinstance(undo, Run) else None
    return found
