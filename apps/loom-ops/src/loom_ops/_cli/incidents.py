"""The commands that drive runs: supervise, runbook, resume, rollback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from loom_agents.cli import BareFlags
from loom_runner.cli_base import Output, choose_output, output_option

from loom_ops._cli.options import (
    config_option,
    db_option,
    drill_option,
    given_inputs,
    inputs_option,
    load_settings,
    mock_option,
    model_name,
    model_option,
    new_run_option,
    require_model,
    run_option,
    trace_option,
)
from loom_ops._errors import LOOM_OPS

if TYPE_CHECKING:
    from loom_runner import SQLiteStore

    from loom_ops._cli.session import Session

__all__ = ["INCIDENT_COMMANDS"]


@click.command(cls=BareFlags)
@click.argument("incident")
@new_run_option
@db_option
@mock_option
@model_option
@click.option("--runbook", metavar="FILE|NAME", help="The runbook; by default the best match for the incident.")
@inputs_option
@drill_option
@config_option
@trace_option
@output_option
def supervise(*, incident: str, run_id: str | None, runbook: str | None, output: Output | None, **options: Any) -> int:
    """Let a team work on an incident.

    A planner, an executor and a verifier work until the incident has ended or a person must decide
    (exit code 3).
    """
    return _start(incident, run_id, runbook, choose_output(output), options)


@click.command(cls=BareFlags)
@click.argument("file", metavar="FILE|NAME")
@new_run_option
@db_option
@inputs_option
@click.option("--dry-run", is_flag=True, help="Only show the steps; run checks and steps that read.")
@drill_option
@config_option
@trace_option
@output_option
def runbook(*, file: str, run_id: str | None, dry_run: bool, output: Output | None, **options: Any) -> int:
    """Run every step of a runbook, in order.

    No model is used.
    """
    if dry_run:
        from loom_ops._cli.dry_run import dry_run as show

        return show(file, load_settings(options["config"]), given_inputs(options["inputs"]), choose_output(output))
    return _start(f"runbook {file}", run_id, file, choose_output(output), {**options, "mock_llm": ""})


@click.command(cls=BareFlags)
@run_option
@db_option
@mock_option
@model_option
@config_option
@trace_option
@output_option
def resume(*, run_id: str, db: str, output: Output | None, **options: Any) -> int:
    """Resume a run after a crash, an interruption, or the decision that it waited for."""

    with LOOM_OPS.open_database(db) as store:
        return _session(store, db, choose_output(output), options).resume(run_id)


@click.command(cls=BareFlags)
@click.argument("run", metavar="RUN")
@db_option
@config_option
@trace_option
@output_option
def rollback(*, run: str, db: str, output: Output | None, **options: Any) -> int:
    """Undo the steps of RUN, the last one first.

    Each undo step waits for its own approval.
    """

    with LOOM_OPS.open_database(db) as store:
        return _session(store, db, choose_output(output), options).roll_back(run)


def _start(incident: str, run_id: str | None, runbook: str | None, output: Output, options: dict[str, Any]) -> int:
    from loom_ops._incidents.requests import build_request, new_run_id, stored_request

    db = options["db"]
    if not incident.strip():
        raise click.UsageError("INCIDENT is empty: describe the problem in a few words")
    with LOOM_OPS.open_database(db, must_exist=False) as store:
        name = run_id or new_run_id()
        session = _session(store, db, output, options)
        if store.reader.get_run(name) is not None and stored_request(store, name).incident == incident:
            return session.resume(name)
        request = build_request(
            session.site,
            incident,
            runbook,
            given_inputs(options["inputs"]),
            run_id=name,
            database=Path(db),
            drill=options["drill"],
            model=require_model(options),
        )
        return session.start(name, request)


def _session(store: SQLiteStore, db: str, output: Output, options: dict[str, Any]) -> Session:
    from loom_ops._cli.session import Session

    return Session(store, db, load_settings(options["config"]), output, model_name(options), options.get("trace"))


INCIDENT_COMMANDS = (supervise, runbook, resume, rollback)
