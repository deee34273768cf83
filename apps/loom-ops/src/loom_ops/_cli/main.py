"""The command line `loom-ops`. Commands import heavy modules lazily, for a fast `--help`."""

from __future__ import annotations

import click
from loom_agents.cli import token_commands

from loom_ops._cli.approvals import APPROVAL_COMMANDS
from loom_ops._cli.audit import audit
from loom_ops._cli.incidents import INCIDENT_COMMANDS
from loom_ops._cli.keys import keys
from loom_ops._cli.memory import memory
from loom_ops._cli.reports import REPORT_COMMANDS
from loom_ops._cli.servers import SERVER_COMMANDS
from loom_ops._cli.site import SITE_COMMANDS
from loom_ops._errors import LOOM_OPS

__all__ = ["cli"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loom-ops")
def cli() -> None:
    """Runbooks that cannot be lost, approvals that cannot be skipped.

    A team works on an incident: a planner reads the runbook, an executor runs its steps while a
    verifier watches. Every step that changes something waits for an approval, even after a crash.
    Try it in an empty folder:

        loom-ops supervise "incident: API latency" --run-id inc-001 --mock-llm
    """


for command in (
    *INCIDENT_COMMANDS,
    *APPROVAL_COMMANDS,
    *REPORT_COMMANDS,
    *SITE_COMMANDS,
    *SERVER_COMMANDS,
    audit,
    keys,
    memory,
    token_commands(LOOM_OPS.translate_agent_errors),
):
    cli.add_command(command)
