"""Single steps over MCP: a client that answers for its user, and callers who may not decide."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

from loom_agents import mcp_server
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult

from tests.redteam.area import Area
from tests.redteam.site import command_ran, make_site

AREA = Area(
    "runbook_steps",
    hole="""
replace('loom_ops._incidents.step_views', 'objection', lambda person, policy: None)
replace('loom_ops._approvals.decisions', 'objection', lambda person, policy: None)
replace('loom_ops._team.team', 'approval_verifier', lambda *words, **more: None)
""",
)
STEP = {"runbook": "fix", "step": "good", "run_id": "x"}
YES = ElicitResult(action="accept", content={"decision": "approve"})


def call(site: Path, *callers: str, mode: Any = "auto", **raw: Any) -> None:
    """Call the tool once for each caller, with a client that approves whatever it is asked."""
    from ops_runtime_mcp import Settings, build_server

    os.environ["LOOM_OPS_ALLOW_SHELL"] = "1"
    proven = mcp_server.caller_of
    current = callers[0]
    scopes: Any = frozenset(("read", "run", "approve", "admin"))
    mcp_server.caller_of = lambda context: mcp_server.Person("token", current, scopes)
    try:
        server = build_server(Settings(str(site / "ops.sqlite"), site))

        async def approve(context: Any, params: Any) -> ElicitResult:
            del context, params
            return YES

        async def calls() -> None:
            nonlocal current
            async with Client(server, elicitation_callback=approve, mode=mode) as client:
                for current in callers:  # noqa: B007 - read by caller_of
                    if not raw:
                        await client.call_tool("execute_runbook_step", STEP)
                        continue
                    with contextlib.suppress(MCPError):
                        await client.session.call_tool("execute_runbook_step", STEP, **raw)

        asyncio.run(calls())
    finally:
        mcp_server.caller_of = proven


@AREA.attempt_each("a requester approves the own request, asked by protocol", ["auto", "legacy"])
def _(folder: Path, mode: str) -> str | None:
    site = make_site(folder / "s", group=["alice", "bob"], count=1, not_requester=True)
    call(site, "alice", "alice", mode=mode)
    return command_ran(site)


@AREA.attempt("somebody outside of the group approves")
def _(folder: Path) -> str | None:
    site = make_site(folder / "s", group=["alice", "bob"], count=1)
    call(site, "eve", "mallory", "eve")
    return command_ran(site)


@AREA.attempt("one person approves twice")
def _(folder: Path) -> str | None:
    site = make_site(folder / "s", group=["alice", "bob"], count=2)
    call(site, "alice", "alice", "alice")
    return command_ran(site)


@AREA.attempt_each("an answer that was not asked for", ["", "{}", '{"run_id": "x", "number": 1, "hash": ""}'])
def _(folder: Path, state: str) -> str | None:
    site = make_site(folder / "s", group=["alice"], count=1, not_requester=True)
    call(site, "alice")
    call(site, "alice", input_responses={"approval": YES}, request_state=state or None)
    return command_ran(site)
