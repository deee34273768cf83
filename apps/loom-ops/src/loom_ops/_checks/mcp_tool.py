"""Call a tool of an MCP server for a check of kind `mcp`, and judge its result.

    kind: mcp
    server: rule-based-verifier            # its name in .mcp.json of the site
    tool: run_tests
    arguments: {extra_args: [tests/smoke]}
    result: {verdict: pass}                # and, or instead, measure: json.PATH with expect

The server is started for the check and stopped after it. Its program is a command like any other:
it is started only while commands are on and when an allow rule with effect `read` lists exactly its
argv. It gets the variables that the rule names, in the folder that the rule names, whatever
`.mcp.json` says. That a call only reads is what `.mcp.json` declares (`loom.effect`), never what
the server says.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from loom_agents.mcp import McpConfigError, call_mcp_tool, read_mcp_config
from loom_runner import OutcomeUnknown, ToolFailed

from loom_ops._checks.answers import Measured, json_number, member
from loom_ops._commands.allow_rules import argv_text
from loom_ops._commands.run import command_folder
from loom_ops._errors import NotMeasuredError, TargetError
from loom_ops._runbook.template import scalar_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loom_agents.mcp import McpServerConfig

    from loom_ops._commands.allow_rules import Rules
    from loom_ops._commands.context import ExecutionContext
    from loom_ops._runbook.model import Check

__all__ = ["mcp_tool"]

_INSTALL: Final = "MCP servers need the library mcp. Install it: pip install 'loom-ops[mcp]'"


async def mcp_tool(check: Check, context: ExecutionContext) -> Measured:
    """Call the tool and return what `measure` finds in its result.

    Raises:
        TargetError: The result is not as expected.
        NotMeasuredError: There is no result: the server may not be used or did not start, or the
            call failed.
        CommandDeniedError: No rule allows the server's program.
    """
    options = check.options
    arguments, expected, measured = options.get("arguments") or {}, options.get("result") or {}, options.get("measure")
    if not isinstance(arguments, dict) or not isinstance(expected, dict) or not (expected or measured):
        raise NotMeasuredError("the check needs result: {name: value} or measure: json.PATH")
    server = _server(str(options["server"]), check, context)
    tool = str(options["tool"])
    try:
        result = await call_mcp_tool(server, tool, arguments)
    except ImportError as exc:
        raise NotMeasuredError(_INSTALL) from exc
    except (ToolFailed, OutcomeUnknown) as exc:
        raise NotMeasuredError(str(exc).replace("\n", " ")) from exc
    text = result if isinstance(result, str) else json.dumps(result)
    found = _compared(text, expected)
    if measured is None:
        return None, f"{tool}: {found}"
    path = str(measured).removeprefix("json.")
    value, evidence = json_number(text, path)
    return value, f"{tool}: {', '.join(filter(None, (found, evidence)))}"


def _compared(text: str, expected: Mapping[str, Any]) -> str:
    """Return the members of the result that were compared, as evidence.

    Raises:
        TargetError: One is missing or is something else.
    """
    try:
        answer = json.loads(text) if expected else None
    except (ValueError, RecursionError) as exc:
        raise TargetError(f"the result is text: {text[:200]!r}") from exc
    for path, value in expected.items():
        found = member(answer, str(path))
        if scalar_text(found) != scalar_text(value):
            raise TargetError(f"{path} is {found!r:.100}, expected {value!r}; {_summary(answer)}")
    return ", ".join(f"{path} is {scalar_text(value)}" for path, value in expected.items())


def _summary(answer: Any) -> str:
    """Return the scalar members of a result, for the person who reads why a check failed."""
    members = answer.items() if isinstance(answer, dict) else ()
    return ", ".join(
        f"{name} {value!r:.100}" for name, value in members if isinstance(value, str | int | float) and value != ""
    )


def _server(name: str, check: Check, context: ExecutionContext) -> McpServerConfig:
    if context.rules is None:
        raise NotMeasuredError(context.why_off)
    file = context.mcp_file
    if file is None or not file.exists():
        raise NotMeasuredError(f"there is no {file or '.mcp.json'}, which would name the MCP server {name!r}. Write it")
    try:
        config = read_mcp_config(file)
    except McpConfigError as exc:
        raise NotMeasuredError(str(exc)) from exc
    if name in config.problems:
        raise NotMeasuredError(config.problems[name])
    server = next((each for each in config.servers if each.name == name), None)
    if server is None:
        known = ", ".join(each.name for each in config.servers) or "none"
        raise NotMeasuredError(f"{file} has no MCP server {name!r}; it has: {known}")
    if server.effect != "read":
        raise NotMeasuredError(
            f"{file} does not say that calls of the MCP server {name!r} change nothing. If they do not, "
            f'add "loom": {{"effect": "read", "tools": {{"allow": ["{check.options["tool"]}"]}}}} to it'
        )
    return server if server.transport == "http" else _allowed(server, check, context.rules, context.workspace)


def _allowed(server: McpServerConfig, check: Check, rules: Rules, workspace: Path) -> McpServerConfig:
    """Return a stdio server as the rules let it start.

    Raises:
        CommandDeniedError: No rule allows its program.
        NotMeasuredError: It needs what its rule does not give.
    """
    allowed = rules.check(server.command, "read", check.timeout_s)
    rule, where = allowed.rule, f"{rules.source} line {allowed.rule.line}"
    shown = argv_text(server.command)
    unlisted = sorted(server.env.keys() - set(rule.environment) - rule.fixed_environment.keys())
    if unlisted:
        raise NotMeasuredError(
            f"cannot start {shown}: .mcp.json sets the variable {unlisted[0]!r}, which {where} does not list in env"
        )
    if not rule.network:
        raise NotMeasuredError(f"cannot start {shown}: {where} has network: false, which an MCP server cannot have")
    passed_on = {each: os.environ[each] for each in rule.environment if each in os.environ}
    return replace(
        server,
        command=(allowed.program, *server.command[1:]),
        env={"PATH": ":".join(rules.path), **passed_on, **server.env, **rule.fixed_environment},
        cwd=str(command_folder(allowed, rules, server.command, workspace)),
        start_timeout_s=min(server.start_timeout_s, check.timeout_s),
        timeout_s=min(server.timeout_s, check.timeout_s),
    )
