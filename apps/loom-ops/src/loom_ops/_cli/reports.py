"""The commands that report on runs: explain, runs."""

from __future__ import annotations

import click
from loom_runner.cli_base import (
    Output,
    choose_output,
    output_option,
    styled_status,
    write_json,
    write_line,
    write_rows,
)

from loom_ops._cli.options import db_option, pasteable, run_option
from loom_ops._errors import LOOM_OPS
from loom_ops._runs import is_run_of_loom_ops

__all__ = ["REPORT_COMMANDS"]

MAX_RUNS = 1_000


@click.command()
@run_option
@db_option
@output_option
def explain(*, run_id: str, db: str, output: Output | None) -> None:
    """Explain what happened in a run.

    ID:sub:planner, ID:sub:executor and ID:sub:verifier are the runs of its team.
    """
    from loom_runner import Runs
    from loom_runner.run_ids import is_child

    from loom_ops._cli.status_lines import status_lines
    from loom_ops._cli.timeline import timeline_lines

    def command(verb: str, run: str, *more: str) -> str:
        return pasteable(verb, run, db, *more)

    with LOOM_OPS.open_database(db, read_only=True) as store:
        runs = Runs(store)
        explanation = runs.explain(run_id)
        chosen = choose_output(output)
        if chosen != "text":
            team = [runs.explain(child["run_id"]).data for child in runs.children(run_id)]
            write_json({**explanation.data, "team": team}, chosen)
            return
        write_line(f"{run_id}  {explanation.data['status']}  {explanation.data['summary']}", keep_lines=False)
        if not is_child(run_id) and is_run_of_loom_ops(explanation.data):
            for line in (*timeline_lines(runs, run_id), *status_lines(runs, run_id, command=command)):
                write_line(line, keep_lines=False)
            return
        width = max((len(what) for what, _, _ in explanation.lines()), default=0)
        for what, text, at in explanation.lines():
            write_line(f"  {what:<{width}}  {text}  {at}".rstrip(), keep_lines=False)


@click.command()
@db_option
@output_option
def runs(*, db: str, output: Output | None) -> None:
    """List the incidents in a database, the latest first."""
    from loom_runner import Runs
    from loom_runner.run_ids import is_child

    from loom_ops._team.outcomes import current_outcome, outcome_text

    with LOOM_OPS.open_database(db, read_only=True) as store:
        listed = Runs(store).list(limit=MAX_RUNS)
        found = [run for run in listed if not is_child(run["run_id"]) and is_run_of_loom_ops(run)]
    rows = []
    for run in found:
        outcome = (run["result"] or {}).get("outcome")
        rows.append(
            {
                "run_id": run["run_id"],
                "status": run["status"],
                "outcome": None if outcome is None else current_outcome(outcome),
                "incident": (run["input"].get("request") or {}).get("incident"),
                "updated_at": run["updated_at"],
            }
        )
    columns = {
        "RUN": lambda row: row["run_id"],
        "STATUS": lambda row: styled_status(row["status"]),
        "OUTCOME": lambda row: outcome_text(row["outcome"] or ""),
        "INCIDENT": lambda row: row["incident"] or "",
    }
    write_rows(rows, columns, choose_output(output), empty="there are no runs")


REPORT_COMMANDS = (explain, runs)
