"""The `loom-runner` command. Each subcommand parses options, calls the library, and prints."""

from __future__ import annotations

import click

from loom_runner._cli.control import CONTROL_COMMANDS
from loom_runner._cli.database import STORE_COMMANDS
from loom_runner._cli.doctor import doctor
from loom_runner._cli.drive import DRIVE_COMMANDS
from loom_runner._cli.encryption import ENCRYPTION_COMMANDS
from loom_runner._cli.queries import QUERY_COMMANDS
from loom_runner._cli.watch import watch

__all__ = ["main_group"]


@click.group(name="loom-runner", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="loom-runner", prog_name="loom-runner")
def main_group() -> None:
    """Run Python agents as durable steps in SQLite; resume them after a crash, and explain what
    happened.

    MODULE is a file or an importable name with build_runner(db_path), agent = Agent(...) or
    step(state, ctx); MODULE:NAME names a step function, a @tailrec loop or an Agent. RUN may be
    given as --run-id RUN. Output to a pipe is JSON.
    """


_COMMANDS = (*DRIVE_COMMANDS, *QUERY_COMMANDS, *CONTROL_COMMANDS, *STORE_COMMANDS, *ENCRYPTION_COMMANDS, doctor, watch)
for command in _COMMANDS:
    main_group.add_command(command)
