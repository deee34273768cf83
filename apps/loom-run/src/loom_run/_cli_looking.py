"""The commands that only look at runs."""

from pathlib import Path

import click
from loom_runner.cli_base import ExitCode, Output, choose_output, output_option, write_error, write_line, write_rows

from loom_run._errors import LoomRunError, agent_errors_named
from loom_run._options import command_text, db_option, one_run, run_argument


@click.command()
@run_argument
@db_option
@output_option
def explain(*, run: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Tell what happened: processes, retries, tool calls."""
    name = one_run(run, run_id)
    from loom_run._stores import chat_name, opened
    from loom_run._story import write_explanation

    with opened(db, existing=True, read_only=True) as store, agent_errors_named():
        again, resume = command_text("chat -r", name, db), command_text("resume", name, db)
        write_explanation(store, chat_name(store, name), choose_output(output), again=again, resume=resume)


@click.command()
@db_option
@output_option
def runs(*, db: str, output: Output | None) -> None:
    """List the chats of a database, the latest first."""
    from loom_run._stores import opened
    from loom_run._story import write_runs

    with opened(db, existing=True, read_only=True) as store, agent_errors_named():
        write_runs(store, choose_output(output))


@click.command()
@run_argument
@db_option
@output_option
def show(*, run: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Print a conversation, tool calls included."""
    name = one_run(run, run_id)
    from loom_run._stores import chat_name, opened
    from loom_run._story import write_conversation

    with opened(db, existing=True, read_only=True) as store, agent_errors_named():
        write_conversation(store, chat_name(store, name), choose_output(output))


@click.command()
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--run-id", "-r", metavar="ID", help="Only those of this run and its children.")
@click.option("--all", "every", is_flag=True, help="Also those that are decided.")
@db_option
@output_option
def approvals(*, run: str | None, run_id: str | None, every: bool, db: str, output: Output | None) -> None:
    """List the calls that wait for your word, and what they would do."""
    name = None if run is None and run_id is None else one_run(run, run_id)
    from loom_run._approvals import requests_of, write_requests
    from loom_run._stores import chat_name, opened

    with opened(db, existing=True, read_only=True) as store:
        target = None if name is None else chat_name(store, name)
        write_requests(requests_of(store, target, pending_only=not every), choose_output(output))


@click.command()
@run_argument
@click.option(
    "--form",
    type=click.Choice(["markdown", "json", "script"]),
    default="markdown",
    show_default=True,
    help="To read, for a program, or a script for --mock-llm=FILE.",
)
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it there.")
@db_option
def export(*, run: str | None, run_id: str | None, form: str, to: Path | None, db: str) -> None:
    """Write a whole conversation out.

    Tool calls and their results are included.
    """
    name = one_run(run, run_id)
    from loom_run._chat import Conversation
    from loom_run._exporting import exported
    from loom_run._stores import chat_name, opened

    with opened(db, existing=True, read_only=True) as store, agent_errors_named():
        text = exported(Conversation(store, chat_name(store, name)).look(), form)  # type: ignore[arg-type]  # a choice
    if to is None:
        write_line(text.removesuffix("\n"))
        return
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise LoomRunError(f"cannot write {to}: {exc.strerror}. Name another file.") from exc
    write_error(f"written to {to}")


@click.command()
@click.option("--model", metavar="P:M", help="Look at this model, too.")
@db_option
@output_option
def doctor(*, model: str | None, db: str, output: Output | None) -> int:
    """Look whether all that is needed is there.

    The model and its key, the database, git, the tests, the settings: one line for each, exit code 1 when something
    is missing that a chat needs.
    """
    from loom_run._doctor import examine

    checks = list(examine(db, model))
    if choose_output(output) == "text":
        for check in checks:
            write_line(f"{check.verdict:<4}  {check.name:<8}  {check.text}")
    else:
        write_rows([check.to_json() for check in checks], {}, choose_output(output), empty="")
    return ExitCode.FAILED if any(check.verdict == "bad" for check in checks) else ExitCode.DONE


LOOKING_COMMANDS = (explain, runs, show, approvals, export, doctor)
