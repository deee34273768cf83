"""`loom-ops runbook FILE --dry-run`: show every step; run only checks and steps that read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from loom_runner.cli_base import ExitCode, Output, write_json, write_line

from loom_ops._checks.run import run_check
from loom_ops._commands.allow_rules import argv_text
from loom_ops._commands.context import ExecutionContext
from loom_ops._commands.rules_file import load_rules
from loom_ops._commands.run import DEFAULT_TIMEOUT_S, run_command
from loom_ops._commands.secrets import Vault
from loom_ops._errors import LoomOpsError, RulesError
from loom_ops._runbook.catalog import find_runbook
from loom_ops._runbook.destinations import with_destinations
from loom_ops._runbook.durations import format_duration
from loom_ops._runbook.inputs import input_values
from loom_ops._runbook.model import Check, Instruction, Run
from loom_ops._runbook.parse import require_runbook
from loom_ops._runbook.render import render_step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_ops._commands.allow_rules import Rules
    from loom_ops._runbook.model import Runbook
    from loom_ops._site import Site

__all__ = ["dry_run"]


def dry_run(named: str, site: Site, inputs: Mapping[str, str], output: Output) -> int:
    """Print each step; return the exit code: 1 when a step could not be run.

    Raises:
        LoomOpsError: There is no such runbook, it has errors, or an input is missing or wrong.
    """
    source, text = find_runbook(site, named)
    runbook = require_runbook(text, source)
    values = input_values(runbook, inputs)
    try:
        rules, why_off = load_rules(site.rules), ""
    except RulesError as exc:
        rules, why_off = None, str(exc)
    vault = Vault(with_destinations(runbook), site.folder)
    context = ExecutionContext(site.folder, rules, vault, why_off=why_off, mcp_file=site.mcp_file)
    failures = 0
    for step in runbook.steps:
        row = asyncio.run(_row(render_step(step, values), runbook, values, context, why_off))
        failures += not row["can_be_made"]
        if output == "text":
            for line in _lines(row):
                write_line(line)
        else:
            write_json(row, "jsonl")
    return ExitCode.FAILED if failures else ExitCode.DONE


async def _row(
    step: Check | Run | Instruction,
    runbook: Runbook,
    values: Mapping[str, str],
    context: ExecutionContext,
    why_off: str,
) -> dict[str, Any]:
    row: dict[str, Any] = {"id": step.id, "line": step.line, "effect": step.effect, "can_be_made": True}
    if isinstance(step, Instruction):
        return {**row, "what": "by_hand", "text": step.text}
    if isinstance(step, Check):
        result = await run_check(step, context)
        return {**row, "what": "check", "kind": step.kind, "expect": step.expect, "found": result.as_json()}
    timeout_s = step.timeout_s or DEFAULT_TIMEOUT_S
    row |= {"what": "run", "argv": list(step.argv), "rule": _rule(step, context.rules)}
    row["timeout"] = format_duration(timeout_s)
    if step.effect == "write":
        policy = runbook.policy_of(step)
        row["approval"] = f"{policy.count} of {policy.group} within {format_duration(policy.ttl_s)}"
        row["approval"] += ", not the requester" if policy.not_requester else ""
        undo = None if step.undo is None else render_step(runbook.step(step.undo), values)
        row["undo"] = list(undo.argv) if isinstance(undo, Run) else None
    if step.id in runbook.undo_only:
        row["when"] = "only to undo another step"
    try:
        if context.rules is None:
            raise LoomOpsError(why_off)
        context.rules.check(step.argv, step.effect, timeout_s)
        if step.effect == "read":
            ended = await run_command(
                step.argv,
                rules=context.rules,
                effect="read",
                timeout_s=timeout_s,
                workspace=context.workspace,
                vault=context.vault,
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
    what = " ".join(filter(None, (row["what"].replace("_", " "), row.get("kind"))))
    lines = [f"{row['id']}  {what}, {row['effect']}{', ' + row['when'] if 'when' in row else ''}"]
    if "argv" in row:
        lines.append(f"    argv      {argv_text(row['argv'])}  (at most {row['timeout']})")
        lines.append(f"    rule      {row['rule'] or 'none'}")
    if "approval" in row:
        lines.append(f"    approval  {row['approval']}")
        lines.append(f"    undo      {argv_text(row['undo']) if row['undo'] else 'none: it cannot be undone'}")
    if "text" in row:
        lines.append(f"    text      {' '.join(row['text'].split())}")
    if "found" in row:
        lines.append(f"    found     {row['found']['text']}")
    if "why" in row:
        lines.append(f"    NOT       {row['why']}")
    return lines
