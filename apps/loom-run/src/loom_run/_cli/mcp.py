"""`loom-run mcp`: list the MCP servers, and check that they work."""

from pathlib import Path
from typing import Any

import click
from flow_xray.terminal import visible_line
from loom_runner.cli_base import ExitCode, Output, choose_output, output_option, run_async, write_error, write_rows

from loom_run._cli.options import DEFAULT_DB

__all__ = ["mcp"]

_file = click.option("--mcp-config", metavar="FILE", help="The file of servers; by default .mcp.json in the workspace.")
_workspace = click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder with .mcp.json; by default the current one.",
)


@click.group()
def mcp() -> None:
    """List and check the MCP servers whose tools the agent can use."""


@mcp.command("list")
@_file
@_workspace
@output_option
def list_servers(*, mcp_config: str | None, workspace: Path | None, output: Output | None) -> None:
    """List the servers in the file without starting them."""
    from loom_agents.mcp import read_mcp_config

    from loom_run._errors import LOOM_RUN

    with LOOM_RUN.translate_agent_errors():
        config = read_mcp_config(_config_file(mcp_config, workspace))
    rows: list[dict[str, Any]] = [
        {
            "server": server.name,
            "transport": server.transport,
            "where": server.shown,
            "effect": server.effect,
            "replaces": dict(server.replaces),
            "problem": None,
        }
        for server in config.servers
    ]
    rows += [
        {"server": name, "transport": None, "where": "", "effect": None, "replaces": {}, "problem": problem}
        for name, problem in config.problems.items()
    ]
    columns = {
        "server": lambda row: row["server"],
        "transport": lambda row: row["transport"] or "-",
        "calls": lambda row: row["effect"] or "write",
        "replaces": lambda row: ", ".join(dict.fromkeys(row["replaces"])) or "-",
        "where": lambda row: visible_line(row["where"] or "cannot be used"),
    }
    write_rows(rows, columns, choose_output(output), empty="the file lists no servers")
    for line in (*config.problems.values(), *config.warnings):
        write_error(visible_line(line))


@mcp.command()
@_file
@_workspace
@click.option("--trust", is_flag=True, help="Trust the file from now on: the programs it names may be started.")
@click.option("--tools", "with_tools", is_flag=True, help="Print every tool with its description.")
@output_option
def check(
    *, mcp_config: str | None, workspace: Path | None, trust: bool, with_tools: bool, output: Output | None
) -> int:
    """Start every server, list its tools, and stop it again. Exit code 1 when one of them cannot be
    used.

    The exit code is 1 when one of them cannot be used. The descriptions of tools come from the
    servers and are sent to the model: review them once.
    """
    from loom_run._config.mcp_servers import find_mcp_file, mcp_servers
    from loom_run._config.trust import TrustPrompt
    from loom_run._errors import LOOM_RUN

    named = _config_file(mcp_config, workspace)
    prompt = TrustPrompt.at_terminal(given=trust)
    with LOOM_RUN.translate_agent_errors():
        file = find_mcp_file(Path(), str(named), prompt, is_explicit=mcp_config is not None)
        rows, problems = run_async(_check(mcp_servers(file, database=Path(DEFAULT_DB))))
    style = choose_output(output)
    columns = {
        "server": lambda row: row["server"],
        "state": lambda row: row["state"],
        "tools": lambda row: str(len(row["tools"])),
        "start": lambda row: f"{row['started_in_s']:.1f} s" if row["state"] == "ready" else "-",
        "message": lambda row: visible_line(row["info"] or row["reason"]),
    }
    write_rows(rows, columns, style, empty="the file lists no servers")
    if style == "text":
        for row in rows if with_tools else []:
            for tool in row["tools"]:
                marks = "reads" if tool["read_only"] else "idempotent" if tool["idempotent"] else "writes"
                write_error(visible_line(f"  {tool['name']}  [{marks}]  {tool['description']}"))
        for problem in problems:
            write_error(visible_line(problem))
    return ExitCode.FAILED if problems else ExitCode.DONE


async def _check(servers: Any) -> tuple[list[dict[str, Any]], list[str]]:
    from loom_runner import ToolRegistry

    async with servers:
        names = servers.names(ToolRegistry())
        registry = servers.registry(ToolRegistry())
        rows = []
        for server in servers.servers:
            tools = [registry.get(name) for (owner, _), name in names.items() if owner == server.config.name]
            rows.append(
                {
                    "server": server.config.name,
                    "state": server.state,
                    "reason": server.reason,
                    "info": server.info,
                    "started_in_s": round(server.started_in_s, 3),
                    "stderr": server.stderr.text,
                    "tools": [
                        {
                            "name": tool.name,
                            "description": " ".join(tool.description.split()),
                            "read_only": tool.read_only,
                            "idempotent": tool.idempotent,
                            "input_schema": tool.schema(),
                        }
                        for tool in tools
                    ],
                }
            )
    return rows, servers.problems


def _config_file(mcp_config: str | None, workspace: Path | None) -> Path:
    """Return the file of servers: the flag's, else that of the settings, else the workspace's
    own.
    """
    if mcp_config:
        return Path(mcp_config)
    from loom_run._config.mcp_servers import MCP_FILE
    from loom_run._config.settings import load_settings

    folder = workspace or Path()
    return Path(load_settings(workspace).mcp_config or folder / MCP_FILE)
