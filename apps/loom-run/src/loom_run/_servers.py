"""Which MCP servers a command uses: the file that was named, or the workspace's own `.mcp.json` once it is trusted."""

import hashlib
from pathlib import Path
from typing import Final

from loom_agents.mcp import BlobFolder, McpConfig, McpServers, read_mcp_config
from loom_runner.cli_base import write_error

from loom_run._errors import LoomRunError
from loom_run._lines import printable
from loom_run._trusting import Trusting

__all__ = ["PROJECT_SERVERS", "found_servers", "servers_of"]

PROJECT_SERVERS: Final = ".mcp.json"
NONE: Final = "none"


def found_servers(workspace: Path, named: str | None, trusting: Trusting, *, is_own_word: bool = False) -> Path | None:
    """Find the file of servers that may be used; None when there is none.

    Args:
        workspace: the folder that is worked in.
        named: the file that a flag or a setting names; `none` for no servers, None to look in the workspace.
        trusting: who is asked about the file.
        is_own_word: the user named the file on this command, which is as good as an answer.

    Raises:
        LoomRunError: a named file is missing, or nobody has trusted it.
    """
    if named == NONE:
        return None
    file = Path(named) if named else workspace / PROJECT_SERVERS
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as exc:
        if not named:
            return None
        raise LoomRunError(f"cannot read {file}: {(exc.strerror or str(exc)).lower()}.") from exc
    if is_own_word:
        trusting = Trusting(given=True)
    if trusting.holds(file, digest, "start MCP servers"):
        return file.absolute()
    refusal = f"{file} is not used: it starts MCP servers and nobody has trusted it. Look at it, then say --trust once."
    if named:
        raise LoomRunError(f"cannot go on without MCP servers: {refusal} Or say --mcp-config none.")
    write_error(refusal)
    return None


def servers_of(file: Path | str | None, *, database: Path) -> McpServers:
    """Build the servers of a file, to be started with `async with`; problems of the file are written at once.

    Args:
        file: from `found_servers`; None for no servers.
        database: where the run is kept; what servers send beside text is kept next to it.

    Raises:
        McpConfigError: the file is broken.
    """
    config = McpConfig() if file is None else read_mcp_config(Path(file))
    for warning in config.warnings:
        write_error(printable(f"{file}: {warning}"))
    return McpServers(config, blobs=BlobFolder(database.with_name(f"{database.name}-blobs")))
