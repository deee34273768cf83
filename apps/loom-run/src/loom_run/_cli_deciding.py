"""The commands with which a person decides: about calls that wait, and about what was changed."""

import click
from loom_runner.cli_base import plural, run_async, write_error, write_line

from loom_run._errors import LoomRunError, agent_errors_named
from loom_run._options import command_text, db_option, one_run, run_argument

_which = click.option("--all", "every", is_flag=True, help="All that wait, when there are several.")


@click.command()
@click.argument("call", required=False, metavar="[RUN|RUN#NUMBER]")
@click.option("--run-id", "-r", metavar="ID", help="The run, when it is not the first argument.")
@_which
@click.option("--edit", metavar="JSON", help="Let it run with these arguments instead.")
@click.option("--note", default="", metavar="TEXT", help="Why, for the record.")
@db_option
def approve(*, call: str | None, run_id: str | None, every: bool, edit: str | None, note: str, db: str) -> None:
    """Let a call that waits run. The run goes on with `loom-run resume`.

    RUN alone means the only call of the run, or of the runs that it started, that waits. `loom-run approvals` lists
    them.
    """
    if edit is not None and every:
        raise click.UsageError("--edit is about one call: name it, without --all")
    _decide("approve" if edit is None else "edit", one_run(call, run_id), db, note=note, every=every, edit=edit)


@click.command()
@click.argument("call", required=False, metavar="[RUN|RUN#NUMBER]")
@click.option("--run-id", "-r", metavar="ID", help="The run, when it is not the first argument.")
@_which
@click.option("--note", default="", metavar="TEXT", help="Why; the model reads it.")
@db_option
def deny(*, call: str | None, run_id: str | None, every: bool, note: str, db: str) -> None:
    """Refuse a call that waits; it is not run, and the model is told. The run goes on with `loom-run resume`."""
    _decide("deny", one_run(call, run_id), db, note=note, every=every)


def _decide(how: str, call: str, db: str, *, note: str, every: bool, edit: str | None = None) -> None:
    from loom_run._approvals import chosen, decide, name_of, requests_of
    from loom_run._asking import parsed_arguments
    from loom_run._chat import Conversation
    from loom_run._stores import chat_name, opened

    name, hash_sign, number = call.rpartition("#")
    if hash_sign and not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise LoomRunError(f"cannot {how} {call!r}: it is not RUN#NUMBER, as loom-run approvals prints it.")
    arguments = None if edit is None else parsed_arguments(edit)
    with opened(db, existing=True) as store, agent_errors_named():
        run_id = chat_name(store, name if hash_sign else call)
        verb = "approve" if how == "edit" else how
        requests = chosen(store, run_id, int(number) if hash_sign else None, verb, every=every)
        tools = None if arguments is None else Conversation(store, requests[0]["run_id"]).tools()
        for request in requests:
            decide(store, request, how, via="cli", note=note, arguments=arguments, tools=tools)  # type: ignore[arg-type]  # its callers say one of three
            said = {"approve": "allowed", "edit": "allowed with other arguments", "deny": "denied"}[how]
            write_line(f"{said}: {name_of(request)}")
        root = run_id.partition(":sub:")[0]
        left = len(requests_of(store, root))
    more = f"; {plural(left, 'more call')} of {root} {'waits' if left == 1 else 'wait'}" if left else ""
    write_error(f"Go on: {command_text('resume', root, db)}{more}")


@click.command()
@run_argument
@click.option("--all", "every", is_flag=True, help="Everything that the run has changed, not only the last change.")
@click.option(
    "--force",
    is_flag=True,
    help="Also where a file was changed since (what it holds now is lost), or a run may be at work.",
)
@click.option("--list", "only_list", is_flag=True, help="Show what would be taken back, and do nothing.")
@db_option
def undo(*, run: str | None, run_id: str | None, every: bool, force: bool, only_list: bool, db: str) -> None:
    """Take back what a run has changed in files.

    The last change, or with --all every one. It refuses where a file was changed since.
    """
    name = one_run(run, run_id)
    from loom_run._stores import chat_name, opened
    from loom_run._undoing import changes_of, take_back

    with opened(db, existing=True) as store, agent_errors_named():
        target = chat_name(store, name)
        if only_list:
            for line in changes_of(store, target):
                write_line(line)
        else:
            for line in take_back(store, target, every=every, force=force):
                write_line(line)


@click.command()
@run_argument
@click.option("--note", default="", metavar="TEXT", help="Why, for the record.")
@db_option
def cancel(*, run: str | None, run_id: str | None, note: str, db: str) -> None:
    """End a run for good, and the runs that it started. A process that works on it stops at its next write."""
    name = one_run(run, run_id)
    from loom_run._approvals import person
    from loom_run._reader import reader
    from loom_run._stores import chat_name, opened

    with opened(db, existing=True) as store:
        target = chat_name(store, name)
        for cancelled in run_async(reader(store).cancel(run_id=target, by=person(), note=note)):
            write_line(f"cancelled: {cancelled}")


@click.command()
@run_argument
@click.option("--turn", type=click.IntRange(min=1), metavar="N", help="After the answer to the Nth message.")
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="After step N; steps are counted from 0.")
@click.option("--to", metavar="ID", help="The name of the new run.")
@db_option
def fork(*, run: str | None, run_id: str | None, turn: int | None, step: int | None, to: str | None, db: str) -> None:
    """Begin another conversation in the middle of one.

    The first one stays as it is, and files are not changed back. Without --turn and --step it begins where
    the run stands.
    """
    name = one_run(run, run_id)
    from loom_run._forking import forked
    from loom_run._stores import chat_name, opened

    if turn is not None and step is not None:
        raise click.UsageError("--turn and --step exclude each other")
    with opened(db, existing=True) as store, agent_errors_named():
        new = run_async(forked(store, chat_name(store, name), turn=turn, step=step, name=to))
    write_line(new)
    write_error(f'Go on: {command_text("chat -r", new, db)} "..."   or: {command_text("resume", new, db)}')


DECIDING_COMMANDS = (approve, deny, undo, cancel, fork)
