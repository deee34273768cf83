"""Judge a runbook beyond its form: what would go wrong, or could not be taken back, when it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loom_ops._expect import read_expectation
from loom_ops._parse import SLOT
from loom_ops._problems import Problem
from loom_ops._render import SECRET
from loom_ops._runbook import Check, Instruction, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_ops._rules import Rules
    from loom_ops._runbook import Runbook

__all__ = ["lint"]

_SHELLS: Final = {"sh", "bash", "zsh", "dash", "ksh", "fish", "pwsh"}


def lint(runbook: Runbook, rules: Rules | None = None) -> list[Problem]:
    """Return what is wrong, in the order of the lines.

    Args:
        rules: The allow rules; without them, whether a command could be started is not judged.
    """
    problems = [*_steps(runbook, rules), *_names(runbook)]
    if not any(isinstance(step, Check) for step in runbook.steps):
        text = "there is no check: nobody can tell whether it helped"
        problems.append(Problem(1, text, "Add a ```check block", "warning"))
    return sorted(problems)


def _steps(runbook: Runbook, rules: Rules | None) -> Iterator[Problem]:
    for step in runbook.steps:
        if isinstance(step, Instruction):
            yield Problem(
                step.line, f"{step.id} is for a person: no block says how it is run", "Add a ```run", "warning"
            )
        elif isinstance(step, Check):
            yield from _check(step)
        else:
            yield from _run(step, runbook, rules)


def _check(check: Check) -> Iterator[Problem]:
    if check.expect is not None and not SLOT.search(check.expect):
        try:
            read_expectation(check.expect)
        except ValueError as exc:
            yield Problem(check.line, f"expect of {check.id}: {exc}", "Mend it")
    elif check.expect is None and check.kind in ("tls", "disk", "file-age", "prometheus"):
        yield Problem(
            check.line, f"check {check.id} has no expect, so any value will do", "Add expect: '< 90%' or the like"
        )


def _run(step: Run, runbook: Runbook, rules: Rules | None) -> Iterator[Problem]:
    if step.timeout_s is None:
        yield Problem(step.line, f"step {step.id} has no timeout: it could hang for ever", "Add timeout=120s")
    if step.effect == "write" and not step.says_undo:
        yield Problem(
            step.line, f"step {step.id} writes and does not say how it is taken back", "Add undo=ID or undo=none"
        )
    if step.effect == "write" and not step.reason:
        yield Problem(
            step.line, f"step {step.id} gives no reason to whoever is to approve it", "Add reason:", "warning"
        )
    if step.argv and step.argv[0].rpartition("/")[2] in _SHELLS:
        yield Problem(
            step.line, f"step {step.id} starts a shell, which reads its words again", "Name the program itself"
        )
    if any(SECRET.search(word) for word in step.argv):
        text = f"step {step.id} puts a secret into argv, where every user of the machine sees it"
        yield Problem(step.line, text, "Put it into env:")
    for name in {
        name for value in step.environment.values() for name in SECRET.findall(value)
    } - runbook.secrets.keys():
        yield Problem(
            step.line, f"step {step.id} uses the secret {name!r}, which is not declared", "Add it to secrets:"
        )
    if rules is not None and step.argv and not any(_could_match(rule.argv, step.argv) for rule in rules.rules):
        yield Problem(
            step.line, f"no rule in {rules.source} could allow step {step.id}", "Add a rule, or mend its argv"
        )


def _could_match(rule: tuple[str, ...], argv: tuple[str, ...]) -> bool:
    """Tell whether some inputs could make the template match the rule; words with slots are not compared."""
    return len(rule) == len(argv) and all(
        ours == theirs or SLOT.search(ours) is not None or SLOT.search(theirs) is not None
        for ours, theirs in zip(argv, rule, strict=True)
    )


def _names(runbook: Runbook) -> Iterator[Problem]:
    used = {name for step in runbook.steps if not isinstance(step, Instruction) for name in SLOT.findall(f"{step}")}
    for declared in runbook.inputs.values():
        if declared.name not in used:
            yield Problem(declared.line, f"the input {declared.name!r} is not used", "Remove it", "warning")
        if declared.type == "string" and declared.pattern is None and not declared.enum and declared.name in used:
            text = f"the input {declared.name!r} may be anything"
            yield Problem(declared.line, text, "Add pattern: or enum:", "warning")
