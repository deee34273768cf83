"""The commands that change a run without driving it: each writes its request, and `resume`
continues the run.
"""

from __future__ import annotations

import contextlib
import shlex
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
from loom_runner._cli.output import (
    Output,
    choose_output,
    styled_status,
    user_output_to_stderr,
    write_error,
    write_line,
    write_rows,
)
from loom_runner._model.formatting import shorten
from loom_runner._model.local_user import local_user
from loom_runner.errors import UsageError
from loom_runner.run_ids import parse_id, request_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loom_runner._store.protocol import StoreReader

__all__ = ["CONTROL_COMMANDS"]


@click.command()
@click.argument("call", metavar="RUN#CALL")
@click.option("--retry", is_flag=True, help="Run the tool again, with the same idempotency key.")
@click.option("--skip", is_flag=True, help="Let the call fail; the step sees a ToolFailed with the category skipped.")
@click.option("--result", metavar="JSON", help="Record this JSON as the result of the call.")
@by_option
@db_option
def resolve(*, call: str, retry: bool, skip: bool, result: str | None, by: str | None, db: str) -> None:
    """Decide about a tool call in doubt.

    `resume` then continues the run.
    """
    from loom_runner._control.resolve import resolve_call

    run_id, number = parse_call(call)
    if retry + skip + (result is not None) != 1:
        raise UsageError(f"cannot resolve {call}: choose one of --retry, --skip and --result JSON.")
    value = None if result is None else parse_json(result, "--result")
    require_database(db, run_id, "resolve a call of")
    how: Literal["retry", "skip", "result"] = "retry" if retry else "skip" if skip else "result"
    who = by or local_user()
    with open_database(db, "resolve", read_only=False) as store:
        run_async(resolve_call(store, run_id, number, how, result=value, decided_by=who))
        hint = resume_hint(store, run_id, db)
    write_error(f"decided. resume: {hint}")


@click.command("signal")
@click.argument("name")
@click.argument("run", required=False)
@click.option("--run-id", metavar="RUN", help="The run, if it is not the last argument.")
@click.option("--payload", metavar="JSON", help="The payload of the signal, as JSON.")
@db_option
def signal_command(*, name: str, run: str | None, run_id: str | None, payload: str | None, db: str) -> None:
    """Send a signal NAME to a run.

    `resume` then continues the run.
    """
    from loom_runner._control.signals import send_signal
    from loom_runner._model.waits import SignalWait

    if (run is None) == (run_id is None):
        raise UsageError(f"cannot signal {shorten(name, 40)!r}: name one run, with --run-id RUN.")
    target = checked_run_id(run_id or run or "", "signal")
    value = None if payload is None else parse_json(payload, "--payload")
    require_database(db, target, "signal")
    with open_run_database(db, target, "signal", read_only=False) as store:
        run_async(send_signal(store, target, name, value))
        hint = resume_hint(store, target, db)
        record = store.reader.get_run(target)
    if record is not None and isinstance(record.wait, SignalWait) and record.wait.signal != name:
        write_error(
            f"sent to {target}, which waits for signal {record.wait.signal!r}. This one is kept until a step waits for "
            f"{name!r}."
        )
    else:
        write_error(f"sent to {target}. resume: {hint}")


@click.command()
@query_all_options
@click.option("--all", "everything", is_flag=True, help="Include decided and expired ones.")
def approvals(*, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, everything: bool) -> None:
    """Show the tool calls that wait for an approval.

    Without RUN, those of all runs.
    """
    from loom_runner._queries.approvals import read_approvals
    from loom_runner._queries.views import approval_view

    named = parse_run(names, run_id, "show the approvals of") if names or run_id else None
    is_one = named is not None and named.request is not None
    with open_database(db, "show approvals") as store:
        name = None if named is None else named.run_id
        found = read_approvals(store.reader, name, pending_only=not (everything or is_one))
    rows = [approval_view(one) for one in found if named is None or named.request in (None, one.number)]
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "request": lambda row: row["id"],
        "step": lambda row: str(row["step_index"]),
        "tool": lambda row: row["tool"],
        "status": lambda row: styled_status(row["status"]),
        "until": lambda row: local_time(row["expires_at"]),
        "arguments": lambda row: json_text(row["edited_arguments"] or row["arguments"]),
    }
    mode = choose_output(output)
    write_rows(rows, columns, mode, empty="No call waits for an approval.")
    pending = [row for row in rows if row["status"] == "pending"]
    if pending and mode == "text":
        first = shlex.quote(pending[0]["id"])
        write_error(f"decide: loom-runner decide {first} --approve | --deny | --edit JSON{db_suffix(db)}")


@click.command()
@click.argument("request", metavar="RUN#rNUMBER")
@click.option("--approve", is_flag=True, help="Let the call run.")
@click.option("--deny", is_flag=True, help="Refuse it; the step sees a ToolFailed with the category denied.")
@click.option("--edit", metavar="JSON", help="Let it run with these arguments (JSON) instead.")
@click.option("--note", default="", help="The reason; that of a denial reaches the step.")
@by_option
@db_option
def decide(*, request: str, approve: bool, deny: bool, edit: str | None, note: str, by: str | None, db: str) -> None:
    """Approve or deny a tool call.

    `resume` then continues the run. The arguments of --edit are not checked here; the call fails
    if they do not fit the tool.
    """
    from loom_runner._control.decide import decide_approval

    if approve + deny + (edit is not None) != 1:
        raise UsageError(f"cannot decide {request}: choose one of --approve, --deny and --edit JSON.")
    how: Literal["approve", "deny", "edit"] = "approve" if approve else "deny" if deny else "edit"
    arguments = None if edit is None else parse_json(edit, "--edit")
    if edit is not None and not isinstance(arguments, dict):
        raise UsageError(f"cannot read --edit: {shorten(edit, 60)!r} is not a JSON object of arguments.")
    run_id, number = parse_request(request)
    with open_run_database(db, run_id, "decide a request of", read_only=False) as store:
        if parse_id(request)[1] == "call":
            _refuse_call(store.reader, run_id, number, request)
        work = decide_approval(
            store, run_id, number, how, by=by or local_user(), via="loom-runner", note=note, arguments=arguments
        )
        after = run_async(work)
        hint = resume_hint(store, run_id, db)
    what = f"{request_id(run_id, number)} ({after.name})"
    if after.status == "pending":
        deciders = ", ".join(each.by for each in after.decisions)
        write_error(f"recorded: {what}. {after.needed} people are needed; so far: {deciders}.")
    else:
        write_error(f"{after.status}: {what}. resume: {hint}")


@click.command()
@run_arguments
@by_option
@click.option("--note", default="", help="The reason.")
def cancel(*, names: tuple[str, ...], run_id: str | None, db: str, by: str | None, note: str) -> None:
    """Cancel a run and its children permanently.

    A process that drives it stops at its next write.
    """
    from loom_runner._control.lifecycle import cancel_run

    name = parse_run(names, run_id, "cancel", only_run=True).run_id
    with open_run_database(db, name, "cancel", read_only=False) as store:
        cancelled = run_async(cancel_run(store, name, by=by or local_user(), note=note))
    write_error(f"cancelled: {', '.join(cancelled)}.")


@click.command()
@run_arguments
def pause(*, names: tuple[str, ...], run_id: str | None, db: str) -> None:
    """Pause a run and its children, each after its current step."""
    from loom_runner._control.lifecycle import pause_run

    name = parse_run(names, run_id, "pause", only_run=True).run_id
    with open_run_database(db, name, "pause", read_only=False) as store:
        pausing = run_async(pause_run(store, name))
        hint = resume_hint(store, name, db)
    write_error(f"pause requested: {', '.join(pausing)}. resume: {hint}")


@click.command()
@run_arguments
@click.option("--step", type=Count(min=0), required=True, help="The new run begins after this step.")
@click.option("--as", "new_run_id", metavar="NEW", help="The new run's id; by default RUN-fork-1 and so on.")
@click.option("--patch", metavar="JSON", help="Change the state first, by a JSON merge patch (null removes a member).")
def fork(
    *, names: tuple[str, ...], run_id: str | None, db: str, step: int, new_run_id: str | None, patch: str | None
) -> None:
    """Create a run that begins after a step of another one.

    The other run does not change. `resume` drives the new one. With MODULE, the patched state is
    checked against its type.
    """
    from loom_runner._cli.agent_module import load_module
    from loom_runner._control.fork import fork_run

    named = parse_run(names, run_id, "fork", only_run=True)
    change = None if patch is None else parse_json(patch, "--patch")
    target = None if new_run_id is None else checked_run_id(new_run_id, "make")
    if named.module is not None:  # its types check the patched state
        require_database(db, named.run_id, "fork")
        with user_output_to_stderr(), contextlib.closing(load_module(named.module).runner(db, None)) as runner:
            made = run_async(runner.fork(run_id=named.run_id, step=step, new_run_id=target, patch=change))
    else:
        with open_run_database(db, named.run_id, "fork", read_only=False) as store:
            made = run_async(fork_run(store, named.run_id, step, new_run_id=target, patch=change))
    with open_database(db, "fork") as store:
        hint = resume_hint(store, made, db, module=named.module)
    write_line(made)
    write_error(f"resume: {hint}")


def parse_call(text: str) -> tuple[str, int]:
    """Parse the id of a tool call, RUN#3."""
    run_id, kind, number = parse_id(text)
    if kind == "request":
        raise UsageError(
            f"cannot resolve {shorten(text, 60)!r}: it is an approval request, not a tool call. "
            f"Decide it with loom-runner decide {shlex.quote(shorten(text, 60))}."
        )
    if kind == "run":
        raise UsageError(
            f"cannot resolve {shorten(text, 60)!r}: it is not RUN#NUMBER, the id of a tool call. loom-runner doubts "
            "prints them."
        )
    return checked_run_id(run_id, "resolve"), number


def parse_request(text: str) -> tuple[str, int]:
    """Parse the id of an approval request: RUN#r3, or RUN#3 as earlier versions wrote it."""
    run_id, kind, number = parse_id(text)
    if kind == "run":
        raise UsageError(
            f"cannot decide {shorten(text, 60)!r}: it is not RUN#rNUMBER, the id of an approval request. loom-runner "
            "approvals prints them."
        )
    return checked_run_id(run_id, "decide"), number


def _refuse_call(reader: StoreReader, run_id: str, number: int, text: str) -> None:
    """Refuse the id of a tool call where that of a request is needed, if there is such a call."""
    from loom_runner._store.in_doubt import read_tool_calls

    for call in read_tool_calls(reader, run_id):
        if call.number == number:
            doubt = "in doubt. Decide about it with loom-runner resolve" if call.status == "in_doubt" else call.name
            raise UsageError(
                f"cannot decide {text!r}: it is the tool call {doubt}. Approval requests are named "
                f"{request_id(run_id, number)}; loom-runner approvals prints them."
            )


CONTROL_COMMANDS: tuple[click.Command, ...] = (resolve, approvals, decide, signal_command, cancel, pause, fork)
