"""The draft of a postmortem: what was requested, done and found; people add the causes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flow_xray.terminal import visible, visible_line
from loom_runner.own_files import write_own_file

from loom_ops._errors import LoomOpsError
from loom_ops._team.outcomes import outcome_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["postmortem_text", "write_postmortem"]


def write_postmortem(folder: Path, run_id: str, result: Mapping[str, Any], database: Path) -> Path:
    """Write the draft for its owner only, whole or not at all; an older draft of the same run is
    replaced.

    Raises:
        LoomOpsError: The folder cannot be written.
    """
    path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', run_id)}.md"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():  # it may have come with a repository
            path.unlink()
        write_own_file(path, postmortem_text(run_id, result, database))
    except OSError as exc:
        raise LoomOpsError(f"cannot write the postmortem {path}: {(exc.strerror or str(exc)).lower()}.") from exc
    return path


def postmortem_text(run_id: str, result: Mapping[str, Any], database: Path) -> str:
    """Return the draft as Markdown."""
    lines = [
        f"# {_line(result['incident'])}",
        "",
        f"Draft, written by loom-ops when {run_id} ended.",
        f"**{outcome_text(result['outcome'])}**: {_line(result['why'])}.",
        "",
        f"* Runbook: {_line(result['runbook'])}",
        f"* Requested by: {_line(result['requester'])}",
        f"* Plan: {_line(', '.join(result['plan']))} ({_line(result['reason'])})",
        f"* Confirmed by the verifier: {'yes' if result['verified'] else 'no'}",
        "",
        "## What was done",
        "",
        "| step | what | result |",
        "|---|---|---|",
    ]
    for report in result["steps"]:
        what = "undo" if report.get("takes_back") else report["kind"].replace("_", " ")
        lines.append(f"| {_cell(report['id'])} | {what} | {report['status']}: {_cell(report['text'])} |")
    lines += ["", "## Checks at the end", ""]
    lines += [
        f"* {_line(report['id'])}: {'ok' if report['ok'] else 'NOT ok'}, {_line(report['text'])}"
        for report in result["checks"]
    ] or ["* none"]
    lines += [
        "",
        "## To be written by people",
        "",
        "What was the cause? What made it hard to find? What will prevent it from happening again?",
        "",
        (
            f"Times, decisions and outputs: `loom-ops explain --run-id {run_id} --db {database.name}`, "
            f"`loom-ops audit export --run-id {run_id} --db {database.name}`."
        ),
        "",
    ]
    return visible("\n".join(lines))


def _line(text: object) -> str:
    """Return text as one line of Markdown, in which it makes no link and no HTML."""
    return visible_line(" ".join(str(text).split())).replace("](", "]\\(").replace("<", "\\<")


def _cell(text: object) -> str:
    return _line(text).replace("|", "\\|")[:300]
