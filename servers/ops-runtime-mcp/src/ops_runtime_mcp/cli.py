"""The command `ops-runtime-mcp`."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from loom_agents.mcp_server import serve_mcp, serve_mcp_options
from loom_runner.cli_base import allow_database, run_command, sqlite_path, trust_option
from loom_runner.errors import RunnerError

__all__ = ["command", "main"]


@click.command()
@click.option(
    "--db",
    type=sqlite_path,
    default="ops.sqlite",
    show_default=True,
    envvar="LOOM_OPS_DB",
    show_envvar=True,
    metavar="FILE",
    help="The database of the runs, as for loom-ops; the first step creates it.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The settings; by default loom-ops.toml in the workspace, if it exists.",
)
@click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The folder with runbooks, rules and settings; by default this one.",
)
@click.option(
    "--ask/--no-ask",
    default=True,
    show_default=True,
    help="Ask the user of a client that can, where the policy of the step lets that person approve.",
)
@trust_option
@serve_mcp_options(port=8787)
def command(*, db: str, config: Path | None, workspace: Path | None, ask: bool, **options: Any) -> None:
    """Serve runbook steps, health checks and reports of loom-ops over MCP.

    A step that writes waits for an approval under the policy of its runbook. No command starts
    without LOOM_OPS_ALLOW_SHELL=1 and an allow rule for exactly its words.
    """
    from ops_runtime_mcp.server import build_server
    from ops_runtime_mcp.settings import Settings

    with suppress(RunnerError):  # each call says so
        allow_database(db, writes=False)  # --trust is recorded, for the calls that follow
    is_owners = options["transport"] == "http" and options["token_file"] is None
    serve_mcp(build_server(Settings(db, workspace, config, asks=ask, is_owners=is_owners)), **options)


def main() -> int | None:
    """Run the command; return its exit code."""
    return run_command(command, name="ops-runtime-mcp")
