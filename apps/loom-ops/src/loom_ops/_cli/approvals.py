"""The commands that decide: approve, deny, approvals, resolve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from loom_agents.cli import request_name, requests_in_tree
from loom_runner.cli_base import (
    Output,
    choose_output,
    output_option,
    plural,
    run_async,
    write_error,
    write_line,
    write_rows,
)

from loom_ops._cli.options import (
    config_option,
    db_option,
    load_settings,
    note_option,
    pasteable,
    run_option,
)
from loom_ops._errors import LOOM_OPS, LoomOpsError

if TYPE_CHECKING:
    from loom_agents.cli import Request

    from loom_ops._approvals.decisions import Resolution, Verdict

__all__ = ["APPROVAL_COMMANDS"]

number_option = click.option(
    "--number", type=int, metavar="N", help="The number of the request; required when several wait."
)
hash_option = click.option(
    "--hash", "digest", default="", metavar="HASH", help="What you were shown, as loom-ops prints it: refuse an edit."
)


@click.command()
@run_option
@number_option
@hash_option
@note_option
@db_option
@config_option
def approve(*, run_id: str, number: int | None, digest: str, note: str, db: str, config: Path | None) -> None:
    """Approve a step that waits. `loom-ops resume` then runs it.

    Without --hash, the step is printed first, and on a terminal you are asked. Who may approve was
    bound to the request when it was created.
    """
    _decide("approve", run_id, number, digest=digest, note=note, db=db, config=config)


@click.command()
@run_option
@number_option
@hash_option
@note_option
@db_option
@config_option
def deny(*, run_id: str, number: int | None, digest: str, note: str, db: str, config: Path | None) -> None:
    """Deny a step that waits. `loom-ops resume` then rolls back what was done."""
    _decide("deny", run_id, number, digest=digest, note=note, db=db, config=config)


def _decide(
    verdict: Verdict, run_id: str, number: int | None, *, digest: str, note: str, db: str, config: Path | None
) -> None:
    from loom_runner import LocalEngine
    from loom_runner.run_ids import root_run_id

    from loom_ops._approvals.decisions import DecisionService
    from loom_ops._approvals.people import local_person
    from loom_ops._approvals.signatures import sign_with_own_key

    site = load_settings(config)
    with LOOM_OPS.open_database(db) as store:
        service = DecisionService(LocalEngine(store), site, Path(db), sign_with_own_key)
        request = service.find(verdict, run_id, number, digest=digest)
        if verdict == "approve" and not digest and request["status"] == "pending":
            _show(request, db)
        decided = run_async(service.decide(request, verdict, local_person(site), note=note))
    write_line(f"{request_name(request)} {_status_text(decided.request)}")
    _write_next(root_run_id(request["run_id"]), db)


def _write_next(root: str, db: str) -> None:
    from loom_ops._audit.trail import open_trail

    write_error(f"resume: {pasteable('resume', root, db)}")
    with open_trail(Path(db)) as trail:
        write_error(f"audit head {trail.head()}")


def _show(request: Request, db: str) -> None:
    """Print what is approved, and ask on a terminal; an edited step needs its hash without one."""
    from loom_ops._approvals.requests import decision_words, edit_lines, final_text

    edits = [f"edit  {line}" for line in edit_lines(request)]
    for line in (f"what  {final_text(request)}", f"why   {request['reason']}", *edits):
        write_error(f"{request_name(request)}  {line}")
    if sys.stdin.isatty():
        click.confirm("Approve it?", abort=True, err=True)
    elif request["edited_arguments"] is not None:
        again = pasteable("approve", request["run_id"], db, *decision_words(request))
        raise LoomOpsError(
            f"cannot approve {request_name(request)}: it was edited. Look at it, then: {again}",
            run_id=request["run_id"],
        )


def _status_text(request: Request) -> str:
    if request["status"] != "pending":
        return str(request["status"])
    return f"approved by you; {plural(request['approvals_missing'], 'more person', 'more people')} must approve"


@click.command()
@click.option("--run-id", "-r", metavar="ID", help="List only the steps of this run and its team.")
@click.option("--all", "every", is_flag=True, help="List decided steps too.")
@db_option
@output_option
def approvals(*, run_id: str | None, every: bool, db: str, output: Output | None) -> None:
    """List the steps that wait for approval."""
    from loom_runner import Runs

    from loom_ops._approvals.requests import MIN_HASH, edit_lines, final_text

    with LOOM_OPS.open_database(db, read_only=None) as store:
        found = requests_in_tree(Runs(store).approvals(pending_only=not every), run_id)
    chosen = choose_output(output)
    if chosen != "text" or not found:
        write_rows(found, {}, chosen, empty="nothing waits for approval")
        return
    for row in found:
        policy = row["policy"]
        write_line(f"{request_name(row)}  {row['status']}  {final_text(row)}", keep_lines=False)
        write_line(f"    why   {row['reason']}", keep_lines=False)
        write_line(f"    who   {policy.get('group')}, requested by {policy.get('requester')}", keep_lines=False)
        if row["expires_at"]:
            write_line(f"    until {row['expires_at'][:16]}Z", keep_lines=False)
        if row["status"] == "pending":
            write_line(f"    hash  {row['final_hash'][: MIN_HASH + 4]}", keep_lines=False)
        for line in edit_lines(row):
            write_line(f"    edit  {line}", keep_lines=False)
        for decision in row["decisions"]:
            note = f": {decision['note']}" if decision["note"] else ""
            write_line(f"    {decision['how']} by {decision['by']} ({decision['via']}){note}", keep_lines=False)


@click.command()
@run_option
@click.option(
    "--call", type=int, required=True, metavar="N", help="The number of the call in doubt, as `explain` prints it."
)
@click.option("--done", "how", flag_value="result", help="The command was done before the crash.")
@click.option("--retry", "how", flag_value="retry", help="The command was not done: run it again.")
@click.option("--skip", "how", flag_value="skip", help="Do not run it again; record it as failed.")
@db_option
@config_option
def resolve(*, run_id: str, call: int, how: Resolution | None, db: str, config: Path | None) -> None:
    """Record what happened to a command in doubt.

    A command that was interrupted is never repeated automatically. Resolving it requires the
    permission to approve it, and --retry as many approvals as the command needed: yours is one.
    """
    if how is None:
        raise click.UsageError("choose what happened to it: --done, --retry or --skip")

    from loom_runner import LocalEngine

    from loom_ops._approvals.decisions import DecisionService
    from loom_ops._approvals.people import local_person
    from loom_ops._approvals.signatures import sign_with_own_key

    site = load_settings(config)
    with LOOM_OPS.open_database(db) as store:
        service = DecisionService(LocalEngine(store), site, Path(db), sign_with_own_key)
        root = run_async(service.resolve(run_id, call, how, local_person(site)))
        for request in service.requests(root):
            if any(each["how"] == "retry" for each in request["decisions"]):
                write_line(f"{request_name(request)} {_status_text(request)}")
    _write_next(root, db)


APPROVAL_COMMANDS = (approve, deny, approvals, resolve)
