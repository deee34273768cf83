"""`loom-ops lint`: print every problem of every runbook, with its line and its fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner.cli_base import ExitCode, Output, plural, write_error, write_json, write_line

from loom_ops._commands.rules_file import ALLOW_VARIABLE, load_rules
from loom_ops._errors import RulesError
from loom_ops._runbook.catalog import find_runbook, known_runbooks
from loom_ops._runbook.lint import lint
from loom_ops._runbook.parse import parse_runbook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_ops._commands.allow_rules import Rules
    from loom_ops._site import Site

__all__ = ["print_problems"]


def print_problems(site: Site, named: Sequence[str], output: Output) -> int:
    """Print the problems; return the exit code: 1 when one is an error.

    Args:
        named: Files or names; all runbooks of the site when empty.
    """
    rules, why = _rules(site)
    chosen = [find_runbook(site, name) for name in named] or known_runbooks(site)
    errors = 0
    for source, text in chosen:
        runbook, problems = parse_runbook(text, source)
        if runbook is not None:
            problems = sorted([*problems, *lint(runbook, rules)])
        errors += sum(problem.severity == "error" for problem in problems)
        for problem in problems:
            if output == "text":
                write_line(f"{source}:{problem.line}: {problem.severity}: {problem.text}. {problem.fix}.")
            else:
                row = {"file": source, "line": problem.line, "severity": problem.severity}
                write_json({**row, "text": problem.text, "fix": problem.fix}, "jsonl")
    write_error(f"{plural(len(chosen), 'runbook')}, {plural(errors, 'error') if errors else 'no error'}")
    if rules is None:
        write_error(f"Not checked: whether allow rules match the commands ({why.rstrip('.')}).")
    return ExitCode.FAILED if errors else ExitCode.DONE


def _rules(site: Site) -> tuple[Rules | None, str]:
    try:
        return load_rules(site.rules, environment={ALLOW_VARIABLE: "1"}), ""
    except RulesError as exc:
        return None, str(exc)
