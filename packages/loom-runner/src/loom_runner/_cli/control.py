"""The commands with which a person (or a script) answers a run: they write one row, and `resume` goes on from there."""

from __future__ import annotations

import contextlib
import getpass
from typing import TYPE_CHECKING, Any, Literal

import click

from loom_runner._cli.base import Count, run_async
from loom_runner._cli.options import (
    by_option,
    checked_run_id,
    db_option,
    db_suffix,
    json_text,
    local_time,
    open_database,
    open_run_database,
    parse_json,
    parse_run,
    query_all_options,
    require_database,
    resume_hint,
    run_arguments,
)
from loom_runner._cli.output import Output, choose_output, styled_status, write_error, write_line, write_rows
from loom_runner._model.formatting import shorten
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CONTROL_COMMANDS"]


@click.command()
@click.argument("call", metavar="RUN#CALL")
@click.option("--retry", is_flag=True, help="Run the tool once more, with the same idempotency key.")
@click.option("--skip", is_flag=True, help="Let the call fail; the step sees a ToolFailed with the category skipped.")
@click.option("--result", metavar="JSON", help="It did happen: record this JSON as its payload.")
@by_option
@db_option
def resolve(*, call: str, retry: bool, skip: bool, result: str | None, by: str | None, db: str) -> None:
    """Decide about a tool call in doubt; `resume` then goes on."""
    from loom_runner._control.resolve import resolve_call

    run_id, number = parse_call(call, "resolve", "loom-runner doubts")
    if retry + skip + (result is not None) != 1:
        raise UsageError(f"cannot resolve {call}: choose one of --retry, --skip and --result JSON.")
    value = None if result is None else parse_json(result, "--result")
    require_database(db, run_id, "resolve a call of")
    how: Literal["retry", "skip", "result"] = "retry" if retry else "skip" if skip else "result"
    who = by or user_name()
    with open_database(db, "resolve", read_only=False) as store:
        run_async(resolve_call(store, run_id, number, how, result=value, decided_by=who))
        hint = resume_hint(store, run_id, db)
    write_error(f"decided. go on: {hint}")


@click.command("signal")
@click.argument("name")
@click.argument("run", required=False)
@click.option("--run-id", metavar="RUN", help="The run, when it is not the last argument.")
@click.option("--payload", metavar="JSON", help="What the signal carries, as JSON.")
@db_option
def signal_command(*, name: str, run: str | None, run_id: str | None, payload: str | None, db: str) -> None:
    """Leave a signal NAME for a run; `resume` then goes on."""
    from loom_runner._control.signals import send_signal

    if (run is None) == (run_id is None):
        raise UsageError(f"cannot signal {shorten(name, 40)!r}: say which run, with --run-id RUN.")
    target = checked_run_id(run_id or run or "", "signal")
    value = None if payload is None else parse_json(payload, "--payload")
    require_database(db, target, "signal")
    with open_run_database(db, target, "signal", read_only=False) as store:
        run_async(send_signal(store, target, name, value))
        hint = resume_hint(store, target, db)
    write_error(f"left for {target}. go on: {hint}")


@click.command()
@query_all_options
@click.option("--all", "everything", is_flag=True, help="Decided and expired ones, too.")
def approvals(*, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, everything: bool) -> None:
    """Show the tool calls that wait for an approval.

    Without RUN: those of every run.
    """
    from loom_runner._queries.approvals import read_approvals
    from loom_runner._queries.views import approval_view

    name = parse_run(names, run_id, "show the approvals of").run_id if names or run_id else None
    with open_database(db, "show approvals") as store:
        found = read_approvals(store.reader, name, pending_only=not everything)
    rows = [approval_view(one) | {"id": f"{one.run_id}#{one.number}"} for one in found]
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "request": lambda row: row["id"],
        "step": lambda row: str(row["step_index"]),
        "tool": lambda row: row["tool"],
        "status": lambda row: styled_status(row["status"]),
        "until": lambda row: local_time(row["expires_at"]),
        "arguments": lambda row: json_text(row["edited_arguments"] or row["arguments"]),
    }
    mode = choose_output(output)
    write_rows(rows, columns, mode, empty="Nothing waits for an approval.")
    pending = [row for row in rows if row["status"] == "pending"]
    if pending and mode == "text":
        write_error(f"decide: loom-runner decide '{pending[0]['id']}' --approve | --deny | --edit JSON{db_suffix(db)}")


@click.command()
@click.argument("request", metavar="RUN#NUMBER")
@click.option("--approve", is_flag=True, help="Let the call run.")
@click.option("--deny", is_flag=True, help="Refuse it; the step sees a ToolFailed with the category denied.")
@click.option("--edit", metavar="JSON", help="Let it run with these arguments (JSON) instead.")
@click.option("--note", default="", help="Why; a denial's note reaches the step.")
@by_option
@db_option
def decide(*, request: str, approve: bool, deny: bool, edit: str | None, note: str, by: str | None, db: str) -> None:
    """Approve or deny a tool call; `resume` then goes on."""
    from loom_runner._control.decide import decide_approval

    run_id, number = parse_call(request, "decide", "loom-runner approvals")
    if approve + deny + (edit is not None) != 1:
        raise UsageError(f"cannot decide {request}: choose one of --approve, --deny and --edit JSON.")
    how: Literal["approve", "deny", "edit"] = "approve" if approve else "deny" if deny else "edit"
    arguments = None if edit is None else parse_json(edit, "--edit")
    if edit is not None and not isinstance(arguments, dict):
        raise UsageError(f"cannot read --edit: {shorten(edit, 60)!r} is not a JSON object of arguments.")
    with open_run_database(db, run_id, "decide a request of", read_only=False) as store:
        work = decide_approval(
            store, run_id, number, how, by=by or user_name(), via="loom-runner", note=note, arguments=arguments
        )
        after = run_async(work)
        hint = resume_hint(store, run_id, db)
    if after.status == "pending":
        write_error(f"noted. {after.needed} people are needed; so far: {', '.join(one.by for one in after.decisions)}.")
    else:
        write_error(f"{after.status}. go on: {hint}")


@click.command()
@run_arguments
@by_option
@click.option("--note", default="", help="Why.")
def cancel(*, names: tuple[str, ...], run_id: str | None, db: str, by: str | None, note: str) -> None:
    """End a run and its children for good.

    A process that works on it stops at its next write.
    """
    from loom_runner._control.lifecycle import cancel_run

    name = parse_run(names, run_id, "cancel").run_id
    with open_run_database(db, name, "cancel", read_only=False) as store:
        ended = run_async(cancel_run(store, name, by=by or user_name(), note=note))
    write_error(f"cancelled: {', '.join(ended)}.")


@click.command()
@run_arguments
def pause(*, names: tuple[str, ...], run_id: str | None, db: str) -> None:
    """Let a run and its children stop after the step they are in."""
    from loom_runner._control.lifecycle import pause_run

    name = parse_run(names, run_id, "pause").run_id
    with open_run_database(db, name, "pause", read_only=False) as store:
        asked = run_async(pause_run(store, name))
        hint = resume_hint(store, name, db)
    write_error(f"asked to pause: {', '.join(asked)}. go on later: {hint}")


@click.command()
@run_arguments
@click.option("--step", type=Count(min=0), required=True, help="The new run begins after this step.")
@click.option("--as", "new_run_id", metavar="NEW", help="The new run's name; RUN-fork-1 and so on when not said.")
@click.option("--patch", metavar="JSON", help="Change the state first, by a JSON merge patch (null removes a member).")
def fork(
    *, names: tuple[str, ...], run_id: str | None, db: str, step: int, new_run_id: str | None, patch: str | None
) -> None:
    """Make a new run from a step of another one.

    The first run stays as it is. `resume` goes on with the new one. With MODULE the changed state is checked against
    its type.
    """
    from loom_runner._cli.agent_module import load_module
    from loom_runner._control.fork import fork_run

    named = parse_run(names, run_id, "fork")
    change = None if patch is None else parse_json(patch, "--patch")
    target = None if new_run_id is None else checked_run_id(new_run_id, "make")
    if named.module is not None:  # its types say whether the changed state is one
        require_database(db, named.run_id, "fork")
        with contextlib.closing(load_module(named.module).runner(db, None)) as runner:
            made = run_async(runner.fork(run_id=named.run_id, step=step, new_run_id=target, patch=change))
    else:
        with open_run_database(db, named.run_id, "fork", read_only=False) as store:
            made = run_async(fork_run(store, named.run_id, step, new_run_id=target, patch=change))
    with open_database(db, "fork") as store:
        hint = resume_hint(store, made, db, module=named.module)
    write_line(made)
    write_error(f"go on: {hint}")


def parse_call(text: str, verb: str, source: str) -> tuple[str, int]:
    """Read RUN#NUMBER."""
    run_id, hash_sign, number = text.rpartition("#")
    if not hash_sign or not number.isdecimal() or not number.isascii() or len(number) > 18:
        raise UsageError(f"cannot {verb} {shorten(text, 60)!r}: it is not RUN#NUMBER, as {source} prints it.")
    return checked_run_id(run_id, verb), int(number)


def user_name() -> str:
    """Who sits at the keyboard, as far as the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container with a uid that has no name
        return "unknown"


CONTROL_COMMANDS: tuple[click.Command, ...] = (resolve, approvals, decide, signal_command, cancel, pause, fork)
