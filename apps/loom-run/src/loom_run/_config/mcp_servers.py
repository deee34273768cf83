"""The MCP servers of a command: those of a named file, or of the workspace's own `.mcp.json` once
it is trusted.
"""

import hashlib
from pathlib import Path
from typing import Final

from flow_xray.terminal import visible_line
from loom_agents.mcp import BlobFolder, McpConfig, McpServers, pinned_tools, read_mcp_config
from loom_runner.cli_base import write_error
from loom_runner.errors import NotOwnFile
from loom_runner.own_files import read_own_file

from loom_run._config.trust import TrustPrompt, trusted_files
from loom_run._errors import LoomRunError

__all__ = ["MCP_FILE", "find_mcp_file", "mcp_servers"]

MCP_FILE: Final = ".mcp.json"
NONE: Final = "none"


def find_mcp_file(
    workspace: Path,
    named: str | None,
    trust: TrustPrompt,
    *,
    is_explicit: bool = False,
    executes: bool = True,
) -> Path | None:
    """Find the file of MCP servers that may be used; None when there is none.

    Args:
        workspace: the folder that the agent works in.
        named: the file that a flag or a setting names; `none` for no servers, None to look in the
            workspace.
        trust: decides about the file.
        is_explicit: the user named the file with this command, which counts as trust.
        executes: whether the programs of the workspace may be started; not in the mode read-only.

    Raises:
        LoomRunError: A named file is missing, or is not trusted.
    """
    if named == NONE:
        return None
    file = Path(named) if named else workspace / MCP_FILE
    try:
        digest = hashlib.sha256(read_own_file(file)).hexdigest()
    except NotOwnFile as exc:
        raise LoomRunError(f"cannot read {file}: {exc} Or give --mcp-config none.") from exc
    except OSError as exc:
        if not named:
            return None
        raise LoomRunError(f"cannot read {file}: {(exc.strerror or str(exc)).lower()}.") from exc
    if not executes and not is_explicit and file.resolve() == (workspace / MCP_FILE).resolve():
        write_error(
            f"{visible_line(str(file))} is not used in the mode read-only. Give --mcp-config to start its servers."
        )
        return None
    if trust.given:
        trusted_files().forget_below(pinned_tools(file.absolute()))  # its tools are accepted as they are now
    if is_explicit:
        trust = TrustPrompt(given=True)
    if trust.trusts(file, digest, "start MCP servers"):
        return file.absolute()
    refusal = (
        f"{file} is not used: it starts MCP servers, and you have not trusted it. Read it, then repeat the command"
        " with --trust."
    )
    if named:
        raise LoomRunError(f"cannot continue without MCP servers: {refusal} Or give --mcp-config none.")
    write_error(refusal)
    return None


def mcp_servers(file: Path | str | None, *, database: Path) -> McpServers:
    """Build the servers of a file, to be started with `async with`; warnings about the file are
    written at once.

    Args:
        file: The result of `find_mcp_file`; None for no servers.
        database: The database of the run; content other than text that servers send is stored next
            to it.

    Raises:
        McpConfigError: The file is broken.
    """
    config = McpConfig() if file is None else read_mcp_config(Path(file))
    for warning in config.warnings:
        write_error(visible_line(f"{file}: {warning}"))
    return McpServers(config, blobs=BlobFolder(database.with_name(f"{database.name}-blobs")))
