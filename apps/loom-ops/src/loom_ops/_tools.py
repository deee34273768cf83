"""The tools of a team: what its roles may do to the world, and the gate before it.

Only `run_command` changes something outside; the gate asks people before each call of it, bound to its exact words,
and refuses it when no allow rule matches. An interrupted `run_command` is in doubt and is not made again by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loom_runner import Allow, Ask, Deny, PendingCall, ToolRegistry

from loom_ops._checks import World, run_check
from loom_ops._command import run_command
from loom_ops._errors import LoomOpsError
from loom_ops._memory import Memory
from loom_ops._postmortem import write_postmortem
from loom_ops._rules import ALLOW_VARIABLE, shown_argv
from loom_ops._runbook import ApprovalPolicy, Check, CheckKind, Effect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loom_runner import Gate

__all__ = ["DEFAULT_COMMAND_S", "gate", "team_tools"]

DEFAULT_COMMAND_S: Final = 300.0
"""What a command is given whose step says nothing; `lint` says that it should."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a team keeps what outlives a run."""

    database: Path
    postmortems: Path


def gate(world: World, *, requester: str) -> Gate:
    """Return what decides about calls.

    Args:
        requester: Who asked for the run; kept with each request, for policies that want somebody else.
    """

    def decide(call: PendingCall) -> Allow | Ask | Deny:
        if call.name == "do_by_hand":
            policy = ApprovalPolicy()
            text = f"do this by hand, then approve: {call.arguments['text']}"
            return Ask(
                text,
                policy.ttl_s,
                policy.count,
                {"group": policy.group, "requester": requester, "step": call.arguments["id"]},
            )
        if call.name != "run_command":
            return Allow()
        step = call.arguments
        if world.rules is None:
            return Deny(f"commands are off; set {ALLOW_VARIABLE}=1 and write allow rules")
        if world.rules.rule_for(step["argv"]) is None:
            return Deny(f"no rule in {world.rules.source} allows exactly {shown_argv(step['argv'])}")
        approval = step["approval"]
        policy_facts = {name: approval[name] for name in ("group", "not_requester", "on_timeout")}
        policy_facts |= {"requester": requester, "step": step["id"], "argv": step["argv"], "undo": step["undo"]}
        return Ask(step["reason"], approval["ttl_s"], approval["count"], policy_facts)

    return decide


def team_tools(world: World, places: Places, *, now: Callable[[], str]) -> ToolRegistry:
    """Return the tools.

    Args:
        now: The time (UTC, ISO 8601).
    """
    tools = ToolRegistry()

    @tools.tool("check", read_only=True)
    async def check(
        *,
        id: str,  # noqa: A002 - a key of the call
        kind: CheckKind,
        options: dict[str, Any],
        expect: str | None,
        timeout_s: float,
        retries: int,
        interval_s: float,
    ) -> dict[str, Any]:
        """Ask the world one question."""
        asked = Check(id, 0, "", kind, options, expect, timeout_s, retries, interval_s)
        return (await run_check(asked, world)).as_json()

    async def command(
        argv: list[str], effect: Effect, timeout_s: float | None, environment: dict[str, str]
    ) -> dict[str, Any]:
        if world.rules is None:
            raise LoomOpsError(f"cannot start {shown_argv(argv)}: commands are off. Set {ALLOW_VARIABLE}=1.")
        ended = await run_command(
            argv,
            rules=world.rules,
            effect=effect,
            timeout_s=timeout_s or DEFAULT_COMMAND_S,
            workspace=world.workspace,
            vault=world.vault,
            environment=environment,
        )
        return ended.as_json()

    @tools.tool("look", read_only=True)
    async def look(
        argv: list[str], timeout_s: float | None, environment: dict[str, str], **about: Any
    ) -> dict[str, Any]:
        """Run a command that changes nothing."""
        del about
        return await command(argv, "read", timeout_s, environment)

    @tools.tool("run_command", on_doubt="ask")
    async def run(
        argv: list[str], timeout_s: float | None, environment: dict[str, str], **about: Any
    ) -> dict[str, Any]:
        """Run a command that changes something."""
        del about  # its id, reason, undo and approval: what a person was shown
        return await command(argv, "write", timeout_s, environment)

    @tools.tool("do_by_hand", idempotent=True)
    async def by_hand(id: str, text: str) -> dict[str, Any]:  # noqa: A002 - a key of the call
        """Take a person's word that something was done."""
        del id
        return {"ok": True, "text": f"done by hand: {' '.join(text.split())[:200]}"}

    @tools.tool("write_postmortem", idempotent=True)
    async def postmortem(run_id: str, result: dict[str, Any]) -> dict[str, Any]:
        """Write the draft of a postmortem beside the database."""
        return {"path": str(write_postmortem(places.postmortems, run_id, result, places.database))}

    @tools.tool("learn", idempotent=True)
    async def learn(run_id: str, result: dict[str, Any]) -> dict[str, Any]:
        """Remember what helped."""
        text = f"{result['incident']}: {result['outcome']}, {result['why']}, by {', '.join(result['plan'])}"
        memory = Memory(places.database)
        try:
            return {"fact": memory.learn("remedy", result["runbook"], text, source_run=run_id, at=now())}
        finally:
            memory.close()

    return tools
