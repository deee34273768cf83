"""The commands that only read."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from loom_runner.cli_base import ExitCode, Output, choose_output, output_option, write_error, write_line, write_rows

from loom_run._cli.options import command_text, db_option, required_run, run_argument
from loom_run._errors import LOOM_RUN, LoomRunError

if TYPE_CHECKING:
    from loom_run._report.export import Form

__all__ = ["approvals", "doctor", "explain", "export", "runs", "show"]


@click.command()
@run_argument
@db_option
@output_option
def explain(*, run: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Explain what happened in a run: processes, retries, tool calls."""
    name = required_run(run, run_id)
    from loom_run._chat.database import chat_run_id
    from loom_run._report.explanation import write_explanation

    with LOOM_RUN.open_database(db, read_only=True) as store, LOOM_RUN.translate_agent_errors():
        again, resume = command_text("chat -r", name, db), command_text("resume", name, db)
        write_explanation(store, chat_run_id(store, name), choose_output(output), again=again, resume=resume)


@click.command()
@db_option
@output_option
def runs(*, db: str, output: Output | None) -> None:
    """List the chats in a database, the latest first."""
    from loom_run._report.chat_list import write_chats

    with LOOM_RUN.open_database(db, read_only=True) as store, LOOM_RUN.translate_agent_errors():
        write_chats(store, choose_output(output))


@click.command()
@run_argument
@db_option
@output_option
def show(*, run: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Print a conversation with its tool calls."""
    name = required_run(run, run_id)
    from loom_run._chat.database import chat_run_id
    from loom_run._report.transcript import write_transcript

    with LOOM_RUN.open_database(db, read_only=True) as store, LOOM_RUN.translate_agent_errors():
        write_transcript(store, chat_run_id(store, name), choose_output(output))


@click.command()
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--run-id", "-r", metavar="ID", help="List only the calls of this run and its child runs.")
@click.option("--all", "every", is_flag=True, help="List decided calls too.")
@db_option
@output_option
def approvals(*, run: str | None, run_id: str | None, every: bool, db: str, output: Output | None) -> None:
    """List the tool calls that wait for approval, and what they would do."""
    name = None if run is None and run_id is None else required_run(run, run_id)
    from loom_run._chat.approvals import approval_requests
    from loom_run._chat.database import chat_run_id
    from loom_run._report.approvals import write_requests

    with LOOM_RUN.open_database(db, read_only=True) as store:
        target = None if name is None else chat_run_id(store, name)
        write_requests(approval_requests(store, target, pending_only=not every), choose_output(output))


@click.command()
@run_argument
@click.option(
    "--form",
    type=click.Choice(["markdown", "json", "script"]),
    default="markdown",
    show_default=True,
    help="The format: for a person, for a program, or a script for --mock-llm=FILE.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to this file instead of standard output.",
)
@db_option
def export(*, run: str | None, run_id: str | None, form: "Form", to: Path | None, db: str) -> None:
    """Export a whole conversation with its tool calls and their results."""
    name = required_run(run, run_id)
    from loom_runner.own_files import write_own_file

    from loom_run._chat.conversation import Conversation
    from loom_run._chat.database import chat_run_id
    from loom_run._report.export import export_chat

    with LOOM_RUN.open_database(db, read_only=True) as store, LOOM_RUN.translate_agent_errors():
        text = export_chat(Conversation(store, chat_run_id(store, name)).read(), form)
    if to is None:
        write_line(text.removesuffix("\n"))
        return
    try:
        write_own_file(to, text)
    except OSError as exc:
        raise LoomRunError(f"cannot write {to}: {exc.strerror}. Name another file.") from exc
    write_error(f"written to {to}")


@click.command()
@click.option("--model", metavar="P:M", help="Check this model instead of the configured one.")
@db_option
@output_option
def doctor(*, model: str | None, db: str, output: Output | None) -> int:
    """Check that everything that a chat needs is available.

    The model and its key, the database, git, the tests, the settings: one line for each, exit code
    1 when something is missing that a chat needs.
    """
    from loom_run._report.doctor import run_checks

    checks = list(run_checks(db, model))
    if choose_output(output) == "text":
        for check in checks:
            write_line(f"{check.verdict:<4}  {check.name:<8}  {check.text}")
    else:
        write_rows([check.to_json() for check in checks], {}, choose_output(output), empty="")
    return ExitCode.FAILED if any(check.verdict == "bad" for check in checks) else ExitCode.DONE
