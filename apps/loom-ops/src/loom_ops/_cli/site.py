"""The commands for a site: lint, doctor."""

from __future__ import annotations

from pathlib import Path

import click
from loom_runner.cli_base import ExitCode, Output, choose_output, output_option, write_line

from loom_ops._cli.options import config_option, db_option, load_settings

__all__ = ["SITE_COMMANDS"]


@click.command()
@click.argument("target", nargs=-1, metavar="[FILE|NAME]...")
@config_option
@output_option
def lint(*, target: tuple[str, ...], config: Path | None, output: Output | None) -> int:
    """Report problems in runbooks.

    Checks the named runbooks, or all of this site. The exit code is 1 when there is an error.
    """
    from loom_ops._cli.lint_report import print_problems

    return print_problems(load_settings(config), target, choose_output(output))


@click.command()
@config_option
@db_option
def doctor(*, config: Path | None, db: str) -> int:
    """Check whether this site is ready.

    The exit code is 1 when something is not ready.
    """
    from loom_ops._cli.doctor import findings

    failures = 0
    for name, is_ready, text in findings(load_settings(config), Path(db)):
        failures += not is_ready
        write_line(f"{'ok ' if is_ready else 'NOT'}  {name:<9}  {text}")
    return ExitCode.FAILED if failures else ExitCode.DONE


SITE_COMMANDS = (lint, doctor)
