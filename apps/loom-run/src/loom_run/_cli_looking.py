"""The commands that only look at runs."""

import click
from loom_runner.cli_base import Output, choose_output, output_option

from loom_run._errors import agent_errors_named
from loom_run._options import command_text, db_option, one_run, run_argument


@click.command()
@run_argument
@db_option
@output_option
def explain(*, run: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Tell what happened: processes, retries, tool calls."""
    name = one_run(run, run_id)
    from loom_run._stores import chat_name, opened  # noqa: PLC0415 - kept out of `--help`
    from loom_run._story import write_explanation  # noqa: PLC0415

    with opened(db, existing=True, read_only=True) as store, agent_errors_named():
        again, resume = command_text("chat -r", name, db), command_text("resume", name, db)
        write_explanation(store, chat_name(store, name), choose_output(output), again=again, resume=resume)


@click.command()
@db_option
@output_option
def runs(*, db: str, output: Output | None) -> None:
    """List the chats of a database, the latest first."""
    from loom_run._stores import opened  # noqa: PLC0415
    from loom_run._story import write_runs  # noqa: PLC0415

    with opened(db, existing=True, read_only=True) as store, agent_errors_named():
        write_runs(store, choose_output(output))


@click.command()
@run_argument
@db_option
@output_option
def show(*, run: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Print a conversation, tool calls included."""
    name = one_run(run, run_id)
    from loom_run._stores import chat_name, opened  # noqa: PLC0415
    from loom_run._story import write_conversation  # noqa: PLC0415

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
    from loom_run._approvals import requests_of, write_requests  # noqa: PLC0415
    from loom_run._stores import chat_name, opened  # noqa: PLC0415

    with opened(db, existing=True, read_only=True) as store:
        target = None if name is None else chat_name(store, name)
        write_requests(requests_of(store, target, pending_only=not every), choose_output(output))


LOOKING_COMMANDS = (explain, runs, show, approvals)
