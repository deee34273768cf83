"""`loom-run trust`: show what a workspace would run, and trust it."""

import sys
from pathlib import Path

import click
from loom_runner.cli_base import ExitCode, write_error, write_line

from loom_run._errors import LOOM_RUN, LoomRunError

__all__ = ["trust"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path(), metavar="[DIR]")
@click.option(
    "--test-command", metavar="CMD", help="The command that run_tests starts; by default that of the settings."
)
@click.option("--yes", is_flag=True, help="Trust it without asking.")
def trust(*, folder: Path, test_command: str | None, yes: bool) -> int:
    """Show what a workspace would run, and trust it once.

    Until then, run_tests asks before each call, in every mode. The trust holds for the files as
    they are; when one of them changes, it is asked for again. The tests themselves are not listed:
    trust only what you would run by hand. Exit code 1 when the workspace is not trusted.
    """
    with LOOM_RUN.translate_agent_errors():
        return _trust(folder, test_command, yes=yes)


def _trust(folder: Path, test_command: str | None, *, yes: bool) -> int:
    import hashlib
    import shlex

    from flow_xray.terminal import visible_line
    from loom_agents import Workspace
    from loom_agents.trust import WorkspaceTrust
    from loom_runner.errors import NotOwnFile
    from loom_runner.own_files import read_own_file

    from loom_run._config.mcp_servers import MCP_FILE, mcp_digest
    from loom_run._config.settings import PROJECT_FILE, load_settings
    from loom_run._config.trust import trusted_files

    command = test_command or load_settings(folder).test_command
    workspace = Workspace.at(folder)
    pin = WorkspaceTrust(workspace, trusted_files(), tuple(shlex.split(command)) if command else None)
    steering = pin.steering()
    files = {}
    for file in (workspace.root / PROJECT_FILE, workspace.root / MCP_FILE):
        if file.is_file():
            try:
                files[file] = read_own_file(file)
            except NotOwnFile as exc:
                raise LoomRunError(f"cannot trust {workspace.root}: {exc}") from exc
    write_line(visible_line(f"run_tests runs: {' '.join(steering.command)}"))
    for name, digest in steering.files:
        write_line(visible_line(f"  {digest[:12]}  {name}"))
    for file, content in files.items():
        write_line(visible_line(f"{file.name} sets what loom-run does and starts:"))
        for line in content.decode(errors="replace").splitlines():
            write_line(visible_line(f"  | {line}"))
    digests = {
        file: mcp_digest(file, content) if file.name == MCP_FILE else hashlib.sha256(content).hexdigest()
        for file, content in files.items()
    }
    if pin.objection() is None and all(trusted_files().trusts(*pinned) for pinned in digests.items()):
        write_error(f"{visible_line(str(workspace.root))} is trusted")
        return ExitCode.DONE
    if not yes and not (sys.stdin is not None and sys.stdin.isatty()):
        raise LoomRunError(
            f"cannot ask whether you trust {visible_line(str(workspace.root))}: there is no terminal. Read what is "
            "listed, then: loom-run trust --yes"
        )
    if not yes and not click.confirm(f"Trust {visible_line(str(workspace.root))}?", default=False, err=True):
        return ExitCode.FAILED
    pin.trust(steering)
    trusted_files().trust_all(digests)
    write_error(f"{visible_line(str(workspace.root))} is trusted from now on")
    return ExitCode.DONE
