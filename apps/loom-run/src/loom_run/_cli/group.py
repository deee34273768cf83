"""The command line: the group `loom-run` and its commands."""

import click
from loom_agents.cli import token_commands

from loom_run._cli.chat import chat, resume, supervise
from loom_run._cli.config import config
from loom_run._cli.decisions import approve, cancel, deny, fork, undo
from loom_run._cli.mcp import mcp
from loom_run._cli.reports import approvals, doctor, explain, export, runs, show
from loom_run._cli.serve import serve
from loom_run._cli.trust import trust
from loom_run._errors import LOOM_RUN

__all__ = ["cli"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loom-run")
def cli() -> None:
    """A chat agent on your repository that you can kill and resume.

    Every step is committed before the next one starts. Kill the process whenever you like: the same
    command, or `loom-run resume`, continues without repeating what is recorded.
    """


for command in (
    *(chat, supervise, resume),
    *(explain, runs, show, approvals, export, doctor),
    *(approve, deny, undo, cancel, fork),
    *(config, mcp, serve, trust, token_commands(LOOM_RUN.translate_agent_errors)),
):
    cli.add_command(command)
