"""Lint a runbook: find what would fail, or could not be undone, when it is run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from loom_ops._errors import Problem
from loom_ops._runbook.destinations import inputs_in_host, secrets_in
from loom_ops._runbook.expectation import parse_expectation
from loom_ops._runbook.model import Check, Instruction, Run
from loom_ops._runbook.template import SECRET, SLOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loom_ops._runbook.model import Runbook

__all__ = ["CommandRules", "lint"]

_SHELLS: Final = {"sh", "bash", "zsh", "dash", "ksh", "fish", "pwsh"}
_ADDRESS: Final = re.compile("host|url|uri|target|server|endpoint|address|domain", re.IGNORECASE)
_NEEDS_EXPECT: Final = ("tls", "disk", "file-age", "prometheus")


class CommandRules(Protocol):
    """The part of the allow rules that `lint` needs."""

    @property
    def source(self) -> str:
        """The file of the rules, as it is shown."""
        ...

    def could_allow(self, template: Sequence[str]) -> bool:
        """Return whether some inputs could make an argv with slots match a rule."""
        ...


def lint(runbook: Runbook, rules: CommandRules | None = None) -> list[Problem]:
    """Return the problems, in the order of the lines.

    Args:
        rules: The allow rules; None to skip checking whether commands may be started.
    """
    problems = [*_steps(runbook, rules), *_inputs(runbook)]
    if not any(isinstance(step, Check) for step in runbook.steps):
        text = "there is no check, so the result cannot be verified"
        problems.append(Problem(1, text, "Add a ```check block", "warning"))
    return sorted(problems)


def _steps(runbook: Runbook, rules: CommandRules | None) -> Iterator[Problem]:
    for step in runbook.steps:
        if isinstance(step, Instruction):
            text = f"{step.id} is done by hand: no block says how to run it"
            yield Problem(step.line, text, "Add a ```run block", "warning")
        elif isinstance(step, Check):
            yield from _check(step)
            yield from _destinations(step, runbook, str(step.options.get("url", "")), step.options.get("headers"))
        else:
            yield from _run(step, runbook, rules)
            for word in step.argv:
                if "://" in word or SLOT.fullmatch(word):
                    yield from _destinations(step, runbook, word, dict(step.environment))


def _destinations(step: Check | Run, runbook: Runbook, address: str, holders: object) -> Iterator[Problem]:
    """Report the secrets of a step that go to a host which comes from an input."""
    inputs = inputs_in_host(address)
    if SLOT.fullmatch(address) and isinstance(step, Run):
        inputs = [name for name in inputs if _ADDRESS.search(name)]
    for name in sorted(set(secrets_in(holders))) if inputs else ():
        source = runbook.secrets.get(name)
        if source is not None and source.hosts is None:
            text = f"step {step.id} would send the secret {name!r} to a host that comes from the input {inputs[0]!r}"
            yield Problem(step.line, text, "Write the host itself, or add hosts: [HOST, ...] to the secret")


def _check(check: Check) -> Iterator[Problem]:
    if check.expect is not None and not SLOT.search(check.expect):
        try:
            parse_expectation(check.expect)
        except ValueError as exc:
            yield Problem(check.line, f"expect of {check.id}: {exc}", "Correct it")
    elif check.expect is None and check.kind in _NEEDS_EXPECT:
        text = f"check {check.id} has no expect, so any value passes"
        yield Problem(check.line, text, "Add expect:, for example expect: '< 90%'")
    if check.hold_s:
        text = f"check {check.id} has for:, which is not evaluated"
        yield Problem(check.line, text, "Remove it; use retries: and interval: to repeat the check", "warning")


def _run(step: Run, runbook: Runbook, rules: CommandRules | None) -> Iterator[Problem]:
    if step.timeout_s is None:
        yield Problem(step.line, f"step {step.id} has no timeout: it could hang", "Add timeout=120s")
    if step.effect == "write" and not step.declares_undo:
        text = f"step {step.id} writes and declares no undo"
        yield Problem(step.line, text, "Add undo=ID or undo=none")
    if step.effect == "write" and not step.reason:
        text = f"step {step.id} has no reason for the person who approves it"
        yield Problem(step.line, text, "Add reason:", "warning")
    if step.argv and step.argv[0].rpartition("/")[2] in _SHELLS:
        text = f"step {step.id} starts a shell, which parses its arguments again"
        yield Problem(step.line, text, "Name the program itself")
    if any(SECRET.search(word) for word in step.argv):
        text = f"step {step.id} puts a secret into argv, where every user of the machine can read it"
        yield Problem(step.line, text, "Put it into env:")
    used = {name for value in step.environment.values() for name in SECRET.findall(value)}
    for name in sorted(used - runbook.secrets.keys()):
        text = f"step {step.id} uses the secret {name!r}, which is not declared"
        yield Problem(step.line, text, "Add it to secrets:")
    if rules is not None and step.argv and not rules.could_allow(step.argv):
        text = f"no rule in {rules.source} could allow step {step.id}"
        yield Problem(step.line, text, "Add a rule, or correct the argv")


def _inputs(runbook: Runbook) -> Iterator[Problem]:
    used = {name for step in runbook.steps if not isinstance(step, Instruction) for name in SLOT.findall(f"{step}")}
    for declared in runbook.inputs.values():
        if declared.name not in used:
            yield Problem(declared.line, f"the input {declared.name!r} is not used", "Remove it", "warning")
        if declared.type == "string" and declared.pattern is None and not declared.enum and declared.name in used:
            text = f"the input {declared.name!r} accepts any value"
            yield Problem(declared.line, text, "Add pattern: or enum:", "warning")
