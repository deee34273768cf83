"""The tools of a team: every effect of its roles outside their states.

Only `run_command` changes something on the site; the gate (see `_approvals/gate.py`) has people
approve each call of it. An interrupted `run_command` is in doubt and is not repeated automatically.
The names of the tools are stored.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loom_runner import ToolRegistry

from loom_ops._checks.run import run_check
from loom_ops._clock import now_iso
from loom_ops._commands.allow_rules import argv_text
from loom_ops._commands.run import DEFAULT_TIMEOUT_S, run_command
from loom_ops._errors import LoomOpsError
from loom_ops._memory import open_memory
from loom_ops._runbook.model import Check, CheckKind, Effect
from loom_ops._team.outcomes import outcome_text
from loom_ops._team.postmortem import write_postmortem

if TYPE_CHECKING:
    from pathlib import Path

    from loom_ops._commands.context import ExecutionContext

__all__ = ["OutputPaths", "team_tools"]


@dataclass(frozen=True, slots=True)
class OutputPaths:
    """The output locations of a team: a database for facts, a folder for drafts."""

    database: Path
    postmortems: Path


def team_tools(context: ExecutionContext, paths: OutputPaths) -> ToolRegistry:
    """Return the tools of one run."""
    tools = ToolRegistry()

    @tools.tool("check", read_only=True)
    async def check(
        *,
        id: str,  # noqa: A002 - an argument of the call
        kind: CheckKind,
        options: dict[str, Any],
        expect: str | None,
        timeout_s: float,
        retries: int,
        interval_s: float,
    ) -> dict[str, Any]:
        """Run one check."""
        described = Check(id, 0, "", kind, options, expect, timeout_s, retries, interval_s)
        return (await run_check(described, context)).as_json()

    async def command(
        argv: list[str], effect: Effect, timeout_s: float | None, environment: dict[str, str]
    ) -> dict[str, Any]:
        if context.rules is None:
            raise LoomOpsError(f"cannot start {argv_text(argv)}: {context.why_off}")
        ended = await run_command(
            argv,
            rules=context.rules,
            effect=effect,
            timeout_s=timeout_s or DEFAULT_TIMEOUT_S,
            workspace=context.workspace,
            vault=context.vault,
            environment=environment,
        )
        return ended.as_json()

    @tools.tool("look", read_only=True)
    async def look(
        argv: list[str], timeout_s: float | None, environment: dict[str, str], **shown: Any
    ) -> dict[str, Any]:
        """Run a command that changes nothing."""
        del shown
        return await command(argv, "read", timeout_s, environment)

    @tools.tool("run_command", on_doubt="ask")
    async def run(
        argv: list[str], timeout_s: float | None, environment: dict[str, str], **shown: Any
    ) -> dict[str, Any]:
        """Run a command that changes something."""
        del shown  # id, reason, undo and approval, for the person who decides
        return await command(argv, "write", timeout_s, environment)

    @tools.tool("do_by_hand", idempotent=True)
    async def by_hand(id: str, text: str) -> dict[str, Any]:  # noqa: A002 - an argument of the call
        """Record that a person did a step by hand, as their approval confirms."""
        del id
        return {"ok": True, "text": f"done by hand: {' '.join(text.split())[:200]}"}

    @tools.tool("write_postmortem", idempotent=True)
    async def postmortem(run_id: str, result: dict[str, Any]) -> dict[str, Any]:
        """Write the draft of a postmortem next to the database."""
        return {"path": str(write_postmortem(paths.postmortems, run_id, result, paths.database))}

    @tools.tool("learn", idempotent=True)
    async def learn(run_id: str, result: dict[str, Any]) -> dict[str, Any]:
        """Store the outcome as a fact."""
        outcome = outcome_text(result["outcome"])
        text = f"{result['incident']}: {outcome}, {result['why']}, by {', '.join(result['plan'])}"
        with closing(open_memory(paths.database)) as memory:
            return {"fact": memory.learn("remedy", result["runbook"], text, source_run=run_id, at=now_iso())}

    return tools
