"""The MCP servers of a command: those of a named file, or of the workspace's own `.mcp.json` once
it is trusted.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from flow_xray.terminal import visible_line
from loom_agents.mcp import BlobFolder, McpConfig, McpServers, pinned_tools, read_mcp_config
from loom_runner.cli_base import write_error
from loom_runner.errors import NotOwnFile
from loom_runner.own_files import read_own_file, read_plain_file

from loom_run._config.trust import TrustPrompt, trusted_files
from loom_run._errors import LoomRunError

__all__ = ["MCP_FILE", "find_mcp_file", "mcp_digest", "mcp_servers"]

MCP_FILE: Final = ".mcp.json"
NONE: Final = "none"
_MAX_PROGRAM_BYTES: Final = 50_000_000


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
        digest = mcp_digest(file, read_own_file(file))
    except NotOwnFile as exc:
        raise LoomRunError(f"cannot read {file}: {exc} Or give --mcp-config none.") from exc
    except OSError as exc:
        if not named:
            return None
        raise LoomRunError(f"cannot read {file}: {(exc.strerror or str(exc)).lower()}.") from exc
    if not executes and not is_explicit and file.resolve().is_relative_to(workspace.resolve()):
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
    since = " since it, or a program that it starts, was changed" if trusted_files().knows(file) else ""
    refusal = (
        f"{file} is not used: it starts MCP servers, and you have not trusted it{since}. Read it, then repeat the"
        " command with --trust."
    )
    if named:
        raise LoomRunError(f"cannot continue without MCP servers: {refusal} Or give --mcp-config none.")
    write_error(refusal)
    return None


def mcp_digest(file: Path, content: bytes) -> str:
    """Return a hash of a file of servers and of the programs in its folder that it starts.

    The trust in the file ends when one of them changes, because they run outside of the jail.
    """
    folder = file.resolve().parent
    programs: dict[str, str] = {}
    for word in sorted(set(_words(content))):
        names = (word, *(f"{word.replace('.', '/')}{end}" for end in (".py", "/__init__.py", "/__main__.py")))
        for program in (folder / name for name in names):
            with suppress(OSError, ValueError, NotOwnFile):
                if program.is_file() and program.resolve().is_relative_to(folder):
                    data = read_plain_file(program, max_bytes=_MAX_PROGRAM_BYTES)
                    programs[str(program)] = hashlib.sha256(data).hexdigest()
    own = hashlib.sha256(content).hexdigest()
    return hashlib.sha256(json.dumps([own, programs]).encode()).hexdigest() if programs else own


def _words(content: bytes) -> Iterator[str]:
    """Yield the words of the commands in a file of servers, each also below its `cwd`."""
    try:
        servers = json.loads(content)["mcpServers"].values()
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return  # it will be refused with a reason
    for server in servers:
        if isinstance(server, dict):
            arguments = server.get("args")
            for word in (server.get("command"), *(arguments if isinstance(arguments, list) else ())):
                if isinstance(word, str):
                    yield word
                    yield f"{server.get('cwd') or '.'}/{word}"


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
