"""The values of a runbook's inputs for one run, each checked before it is used.

A pattern must match the whole value. A value never becomes more than one argument of a command, and
no shell reads it; a value that begins with `-` is still refused, because the program could take it
for an option.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from loom_agents.redaction import redact_text

from loom_ops._errors import LoomOpsError
from loom_ops._runbook.template import scalar_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_ops._runbook.model import Input, Runbook

__all__ = ["accepts", "input_values", "missing_inputs"]

MAX_VALUE_CHARACTERS: Final = 1_000
_FORMS: Final = {"integer": r"-?\d{1,18}", "number": r"-?\d{1,18}(\.\d{1,18})?", "boolean": "true|false"}
_INVISIBLE: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: control, format, surrogate, line and paragraph separators."""


def input_values(
    runbook: Runbook, given: Mapping[str, object], environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the text of every input.

    Args:
        given: The values that the user gave.
        environment: The variables for inputs with `env`; None for those of this process.

    Raises:
        LoomOpsError: A value is missing, unknown or not allowed. The value itself is shown,
            shortened.
    """
    environment = os.environ if environment is None else environment
    unknown = sorted(given.keys() - runbook.inputs.keys())
    if unknown:
        known = ", ".join(runbook.inputs) or "none"
        raise LoomOpsError(f"cannot run {runbook.name}: it has no input {unknown[0]!r}. Its inputs: {known}.")
    values = {}
    for name, declared in runbook.inputs.items():
        if name in given:
            values[name] = _checked(runbook, declared, given[name])
        elif declared.variable is not None and environment.get(declared.variable):
            values[name] = _checked(runbook, declared, environment[declared.variable])
        elif declared.default is not None:
            values[name] = _checked(runbook, declared, declared.default)
        else:
            other = "" if declared.variable is None else f", or set {declared.variable}"
            raise LoomOpsError(
                f"cannot run {runbook.name}: the input {name!r} is not given. Add --input {name}=VALUE{other}."
            )
    return values


def missing_inputs(runbook: Runbook, given: Mapping[str, object]) -> list[str]:
    """Return the names of the inputs that have no value: not given, no default, not set in the
    environment.
    """
    return [
        name
        for name, declared in runbook.inputs.items()
        if name not in given
        and declared.default is None
        and not (declared.variable is not None and os.environ.get(declared.variable))
    ]


def accepts(declared: Input, text: str) -> bool:
    """Return whether a text can be the value of an input."""
    return _objection(declared, text) is None


def _checked(runbook: Runbook, declared: Input, given: object) -> str:
    text = given if isinstance(given, str) else scalar_text(given)
    why = _objection(declared, text)
    if why is not None:
        text = redact_text(text)
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        raise LoomOpsError(f"cannot run {runbook.name}: {shown!r} for the input {declared.name!r} {why}.")
    return text


def _objection(declared: Input, text: str) -> str | None:
    if not text:
        return "is empty"
    if len(text) > MAX_VALUE_CHARACTERS:
        return f"is longer than {MAX_VALUE_CHARACTERS} characters"
    if text.startswith("-") and declared.type not in ("integer", "number"):
        return "begins with '-', which a program would take for an option"
    if any(unicodedata.category(character) in _INVISIBLE for character in text):
        return "contains an invisible character"
    if "{secret." in text:
        return "refers to a secret, which only the runbook may do"
    if redact_text(text) != text:
        return "looks like a secret, which would be stored. Declare it under secrets: of the runbook"
    if declared.type in _FORMS and not re.fullmatch(_FORMS[declared.type], text, re.ASCII):
        return f"is not of type {declared.type}"
    if declared.enum and text not in declared.enum:
        return f"is not one of {', '.join(declared.enum)}"
    if declared.pattern is not None and not declared.pattern.fullmatch(text):
        return f"does not match {declared.pattern.pattern}"
    return None
