"""`loom-ops runbook FILE --dry-run`: every step as it would be made; only what reads is really made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from loom_runner.cli_base import ExitCode, Output, write_json, write_line

from loom_ops._checks import World, run_check
from loom_ops._choose import find_runbook
from loom_ops._command import run_command
from loom_ops._durations import write_duration
from loom_ops._errors import LoomOpsError, RulesError, RunbookError
from loom_ops._parse import parse_runbook
from loom_ops._render import input_values, rendered
from loom_ops._rules import Rules, load_rules, shown_argv
from loom_ops._runbook import ApprovalPolicy, Check, Instruction, Run, Runbook
from loom_ops._secrets import Vault
from loom_ops._tools import DEFAULT_COMMAND_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_ops._site import Site

__all__ = ["dry_run_of"]


def dry_run_of(named: str, site: Site, inputs: Mapping[str, str], output: Output) -> int:
    """Print each step; return the exit code: 1 when a step could not be made."""
    source, text = find_runbook(site, named)
    runbook, problems = parse_runbook(text, source)
    if runbook is None:
        raise RunbookError(source, [problem for problem in problems if problem.severity == "error"])
    values = input_values(runbook, inputs)
    try:
        rules, off = load_rules(site.rules), ""
    except RulesError as exc:
        rules, off = None, str(exc)
    world = World(site.folder, rules, Vault(runbook.secrets, site.folder))
    bad = 0
    for step in runbook.steps:
        row = asyncio.run(_row(rendered(step, values), runbook, values, world, off))
        bad += not row["can_be_made"]
        if output == "text":
            for line in _lines(row):
                write_line(line)
        else:
            write_json(row, "jsonl")
    return ExitCode.FAILED if bad else ExitCode.DONE


async def _row(
    step: Check | Run | Instruction, runbook: Runbook, values: Mapping[str, str], world: World, off: str
) -> dict[str, Any]:
    base: dict[str, Any] = {"id": step.id, "line": step.line, "effect": step.effect, "can_be_made": True}
    if isinstance(step, Instruction):
        return {**base, "what": "by hand", "text": step.text}
    if isinstance(step, Check):
        found = await run_check(step, world)
        return {**base, "what": f"check {step.kind}", "expect": step.expect, "found": found.as_json()}
    row = {**base, "what": "run", "argv": list(step.argv), "rule": _rule(step, world.rules)}
    timeout_s = step.timeout_s or DEFAULT_COMMAND_S
    row["timeout"] = write_duration(timeout_s)
    if step.effect == "write":
        policy = runbook.approvals.get(step.approve, ApprovalPolicy())
        row["approval"] = f"{policy.count} of {policy.group} within {write_duration(policy.ttl_s)}"
        row["approval"] += ", not who asked" if policy.not_requester else ""
        undo = None if step.undo is None else rendered(runbook.step(step.undo), values)
        row["undo"] = list(undo.argv) if isinstance(undo, Run) else None
    if step.id in runbook.undo_only:
        row["when"] = "only to take another step back"
    try:
        if world.rules is None:
            raise LoomOpsError(off)
        world.rules.check(step.argv, step.effect, timeout_s)
        if step.effect == "read":
            ended = await run_command(
                step.argv,
                rules=world.rules,
                effect="read",
                timeout_s=timeout_s,
                workspace=world.workspace,
                vault=world.vault,
                environment=step.environment,
            )
            row["found"] = ended.as_json()
    except LoomOpsError as exc:
        row |= {"can_be_made": False, "why": str(exc)}
    return row


def _rule(step: Run, rules: Rules | None) -> str | None:
    rule = None if rules is None else rules.rule_for(step.argv)
    return None if rule is None or rules is None else f"{rules.source}:{rule.line}: {rule}"


def _lines(row: dict[str, Any]) -> list[str]:
    lines = [f"{row['id']}  {row['what']}, {row['effect']}{', ' + row['when'] if 'when' in row else ''}"]
    if "argv" in row:
        lines.append(f"    argv      {shown_argv(row['argv'])}  (at most {row['timeout']})")
        lines.append(f"    rule      {row['rule'] or 'none'}")
    if "approval" in row:
        lines.append(f"    approval  {row['approval']}")
        lines.append(f"    undo      {shown_argv(row['undo']) if row['undo'] else 'none: it cannot be taken back'}")
    if "text" in row:
        lines.append(f"    text      {' '.join(row['text'].split())}")
    if "found" in row:
        lines.append(f"    found     {row['found']['text']}")
    if "why" in row:
        lines.append(f"    NOT       {row['why']}")
    return lines
