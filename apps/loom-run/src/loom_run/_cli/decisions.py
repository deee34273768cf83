"""The commands that decide about tool calls, and those that cancel, fork or undo."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from loom_runner.cli_base import local_user, plural, run_async, write_error, write_line
from loom_runner.run_ids import parse_id, root_run_id

from loom_run._cli.options import command_text, db_option, required_run, run_argument
from loom_run._errors import LOOM_RUN, LoomRunError

if TYPE_CHECKING:
    from loom_run._chat.approvals import Decision

__all__ = ["approve", "cancel", "deny", "fork", "undo"]

_all_option = click.option("--all", "every", is_flag=True, help="Decide about all pending calls of the run.")


@click.command()
@click.argument("call", required=False, metavar="[RUN|RUN#rNUMBER]")
@click.option("--run-id", "-r", metavar="ID", help="The run, when it is not the first argument.")
@_all_option
@click.option("--edit", metavar="JSON", help="Run the call with these arguments instead.")
@click.option("--note", default="", metavar="TEXT", help="The reason, for the record.")
@db_option
def approve(*, call: str | None, run_id: str | None, every: bool, edit: str | None, note: str, db: str) -> None:
    """Approve a tool call. `loom-run resume` then runs it.

    RUN alone means the only call of the run, or of its child runs, that waits for approval.
    `loom-run approvals` lists them.
    """
    if edit is not None and every:
        raise click.UsageError("--edit changes one call: name it, and omit --all")
    _decide("approve" if edit is None else "edit", required_run(call, run_id), db, note=note, every=every, edit=edit)


@click.command()
@click.argument("call", required=False, metavar="[RUN|RUN#rNUMBER]")
@click.option("--run-id", "-r", metavar="ID", help="The run, when it is not the first argument.")
@_all_option
@click.option("--note", default="", metavar="TEXT", help="The reason; the model reads it.")
@db_option
def deny(*, call: str | None, run_id: str | None, every: bool, note: str, db: str) -> None:
    """Deny a tool call. `loom-run resume` then continues without it; the model is informed."""
    _decide("deny", required_run(call, run_id), db, note=note, every=every)


def _decide(decision: "Decision", call: str, db: str, *, note: str, every: bool, edit: str | None = None) -> None:
    from loom_run._chat.approvals import approval_requests, decide, parse_arguments, request_label, select_requests
    from loom_run._chat.conversation import Conversation
    from loom_run._chat.database import chat_run_id
    from loom_run._report.approvals import decision_text

    name, kind, number = parse_id(call)
    if "#" in name:
        raise LoomRunError(f"cannot {decision} {call!r}: it is not RUN#rNUMBER, as loom-run approvals prints it.")
    arguments = None if edit is None else parse_arguments(edit)
    with LOOM_RUN.open_database(db) as store, LOOM_RUN.translate_agent_errors():
        run_id = chat_run_id(store, name)
        verb = "approve" if decision == "edit" else decision
        requests = select_requests(store, run_id, None if kind == "run" else number, verb, every=every)
        tools = None if arguments is None else Conversation(store, requests[0]["run_id"]).tools()
        for request in requests:
            decide(store, request, decision, via="cli", note=note, arguments=arguments, tools=tools)
            write_line(f"{decision_text({'how': decision})}: {request_label(request)}")
        root = root_run_id(run_id)
        left = len(approval_requests(store, root))
    more = f"; {plural(left, 'more call')} of {root} {'waits' if left == 1 else 'wait'} for approval" if left else ""
    write_error(f"Resume: {command_text('resume', root, db)}{more}")


@click.command()
@run_argument
@click.option("--all", "every", is_flag=True, help="Undo every change of the run, not only the last one.")
@click.option(
    "--force",
    is_flag=True,
    help="Undo even if a file has been changed since (its present content is lost) or a process may be driving the"
    " run.",
)
@click.option("--list", "only_list", is_flag=True, help="Only list the changes that can be undone.")
@click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=Path(),
    help="The folder in which the changes were made; by default the current one.",
)
@db_option
def undo(
    *, run: str | None, run_id: str | None, every: bool, force: bool, only_list: bool, workspace: Path, db: str
) -> None:
    """Undo the last change of a run to files, or with --all every change.

    A file that has been changed since is refused, unless --force is given. Only files of the
    workspace are written, and they are shown first.
    """
    name = required_run(run, run_id)
    from loom_run._chat.database import chat_run_id
    from loom_run._chat.undo import list_changes, undo_changes

    with LOOM_RUN.open_database(db) as store, LOOM_RUN.translate_agent_errors():
        target = chat_run_id(store, name)
        if only_list:
            lines = list_changes(store, target)
        else:
            lines = undo_changes(store, target, workspace, every=every, force=force)
        for line in lines:
            write_line(line)


@click.command()
@run_argument
@click.option("--note", default="", metavar="TEXT", help="The reason, for the record.")
@db_option
def cancel(*, run: str | None, run_id: str | None, note: str, db: str) -> None:
    """Cancel a run and its child runs for good. A process that drives it stops at its next
    write.
    """
    name = required_run(run, run_id)
    from loom_runner import LocalEngine

    from loom_run._chat.database import chat_run_id

    with LOOM_RUN.open_database(db) as store:
        target = chat_run_id(store, name)
        for cancelled in run_async(LocalEngine(store).cancel(run_id=target, by=local_user(), note=note)):
            write_line(f"cancelled: {cancelled}")


@click.command()
@run_argument
@click.option(
    "--turn", type=click.IntRange(min=1), metavar="N", help="Fork after the answer to message N, counted from 1."
)
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="Fork after step N, counted from 0.")
@click.option("--to", metavar="ID", help="The id of the new run.")
@db_option
def fork(*, run: str | None, run_id: str | None, turn: int | None, step: int | None, to: str | None, db: str) -> None:
    """Start a new conversation from a point of an existing one.

    The first one stays as it is, and files are not changed back. Without --turn and --step the new
    one starts from the latest step.
    """
    name = required_run(run, run_id)
    from loom_run._chat.database import chat_run_id
    from loom_run._chat.forks import fork_chat

    if turn is not None and step is not None:
        raise click.UsageError("--turn and --step exclude each other")
    with LOOM_RUN.open_database(db) as store, LOOM_RUN.translate_agent_errors():
        new = run_async(fork_chat(store, chat_run_id(store, name), turn=turn, step=step, name=to))
    write_line(new)
    write_error(f'Continue: {command_text("chat -r", new, db)} "..."   or: {command_text("resume", new, db)}')
