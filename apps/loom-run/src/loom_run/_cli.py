"""The commands of `loom-run`. Everything heavy is imported inside them, so that `--help` is quick."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
from loom_runner.cli_base import Output, choose_output, output_option, run_async, write_error, write_json, write_line

from loom_run._cli_config import config
from loom_run._cli_mcp import mcp
from loom_run._errors import LoomRunError, agent_errors_named

if TYPE_CHECKING:
    from loom_run._chat import Desk, Turn
    from loom_run._setup import SetupChange

DEFAULT_DB = "runs.sqlite"
NO_TEXT = "cannot chat: because the message is not valid text. Write it in UTF-8."


class _BareFlags(click.Command):
    """A command in which `--mock-llm` stands alone and only `--mock-llm=FILE` takes a value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        named = ["--mock-llm=" if arg == "--mock-llm" else arg for arg in args[:end]]
        return super().parse_args(ctx, named + args[end:])


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_db = click.option(
    "--db",
    default=DEFAULT_DB,
    show_default=True,
    envvar="LOOM_DB",
    show_envvar=True,
    metavar="FILE",
    help="The database with the runs.",
)
_run_id = click.option("--run-id", "-r", metavar="ID", help="The run; without it `chat` makes a new one.")
_run = _options(
    click.argument("run", required=False, metavar="[RUN]"),
    click.option("--run-id", "-r", metavar="ID", help="The run, when it is not the first argument."),
)
_setup = _options(
    click.option(
        "--mock-llm",
        metavar="[=FILE]",
        help="Work offline: alone, a mock that searches and quotes; with =FILE, a script (JSON or YAML).",
    ),
    click.option(
        "--model", metavar="P:M", help="Provider and model: openai:gpt-5, ollama:qwen3, ...  [env var: LOOM_MODEL]"
    ),
    click.option(
        "--workspace",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The folder to work in; the current one for a new run.",
    ),
    click.option("--test-command", metavar="CMD", help="What run_tests starts; pytest for a new run."),
)
_limits = _options(
    click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Pause after N steps."),
    click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Stop when the run has used N tokens."),
    click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Stop when the run has cost so much."),
    click.option(
        "--max-requests",
        type=click.IntRange(min=1),
        metavar="N",
        help="Stop after N model requests in one turn; 50 for a new run.",
    ),
    click.option(
        "--trace", type=click.Path(path_type=Path), metavar="FILE", help="Write a page (HTML) about the whole run."
    ),
    click.option(
        "--record",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write the model's replies to a script, for --mock-llm=FILE.",
    ),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loom-run")
def cli() -> None:
    """A chat agent on your repository that you can kill and resume.

    Every step is committed before the next begins. Kill the process whenever you like; the same command, or
    `loom-run resume`, goes on without repeating what is on record.
    """


@cli.command(cls=_BareFlags)
@click.argument("message", required=False, metavar="[MESSAGE|-]")
@_run_id
@click.option("--continue", "-c", "latest", is_flag=True, help="Go on with the latest chat.")
@_db
@_setup
@_limits
@click.option("--output", type=click.Choice(["text", "json", "jsonl"]), default="text", show_default=True)
def chat(*, message: str | None, run_id: str | None, latest: bool, db: str, output: Output, **options: Any) -> int:
    """Send a message and print the answer.

    `-` as the message reads it from standard input. Without a message, at a terminal, it is a session: type
    messages until Ctrl-D.

    A new --run-id starts a chat. A known one goes on: the same message finishes its turn or gives the stored
    answer, another one opens the next turn.
    """
    text = _message(message, may_ask=output == "text")
    from loom_run._chat import Conversation  # noqa: PLC0415 - kept out of `--help`
    from loom_run._stores import chat_name, latest_chat, new_run_id, opened  # noqa: PLC0415

    if latest and run_id is not None:
        raise click.UsageError("--continue and --run-id exclude each other")
    change, limits, desk = _parts(output, options)
    with opened(db) as store, agent_errors_named():
        name = latest_chat(store) if latest else new_run_id() if run_id is None else run_id
        conversation = Conversation(store, chat_name(store, name, existing=False))
        if conversation.run_id != name:
            write_error(f"{name} is a run of another program here; this chat is kept as {conversation.run_id}")
        if text is None:
            from loom_run._session import Session, terminal_reader  # noqa: PLC0415

            session = Session(conversation, change, limits, desk, lambda turn: _told(turn, desk, db, output))
            return session.run(terminal_reader())
        if conversation.exists():
            work = conversation.say(text, change, limits, desk)
        else:
            work = conversation.begin(text, change.first(), limits, desk)
        turn = run_async(work, hint=f"Go on: {_command('resume', name, db)}")
    return _told(turn, desk, db, output)


@cli.command(cls=_BareFlags)
@_run
@_db
@_setup
@_limits
@click.option("--output", type=click.Choice(["text", "json", "jsonl"]), default="text", show_default=True)
def resume(*, run: str | None, run_id: str | None, db: str, output: Output, **options: Any) -> int:
    """Go on with a run that did not end.

    It was killed, interrupted, paused, stopped by a limit, or it failed. What is on record is not repeated.
    """
    name = _one_run(run, run_id)
    from loom_run._chat import Conversation  # noqa: PLC0415
    from loom_run._stores import chat_name, opened  # noqa: PLC0415

    change, limits, desk = _parts(output, options)
    with opened(db, existing=True) as store, agent_errors_named():
        work = Conversation(store, chat_name(store, name)).go_on(change, limits, desk)
        turn = run_async(work, hint=f"Go on: {_command('resume', name, db)}")
    return _told(turn, desk, db, output)


@cli.command()
@_run
@_db
@output_option
def explain(*, run: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Tell what happened: processes, retries, tool calls."""
    name = _one_run(run, run_id)
    from loom_run._stores import chat_name, opened  # noqa: PLC0415
    from loom_run._story import write_explanation  # noqa: PLC0415

    with opened(db, existing=True, read_only=True) as store, agent_errors_named():
        again, resume = _command("chat -r", name, db), _command("resume", name, db)
        write_explanation(store, chat_name(store, name), choose_output(output), again=again, resume=resume)


@cli.command()
@_db
@output_option
def runs(*, db: str, output: Output | None) -> None:
    """List the chats of a database, the latest first."""
    from loom_run._stores import opened  # noqa: PLC0415
    from loom_run._story import write_runs  # noqa: PLC0415

    with opened(db, existing=True, read_only=True) as store, agent_errors_named():
        write_runs(store, choose_output(output))


@cli.command()
@_run
@_db
@output_option
def show(*, run: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Print a conversation, tool calls included."""
    name = _one_run(run, run_id)
    from loom_run._stores import chat_name, opened  # noqa: PLC0415
    from loom_run._story import write_conversation  # noqa: PLC0415

    with opened(db, existing=True, read_only=True) as store, agent_errors_named():
        write_conversation(store, chat_name(store, name), choose_output(output))


def _parts(output: Output, options: dict[str, Any]) -> "tuple[SetupChange, dict[str, Any], Desk]":
    """Turn options into what a conversation takes."""
    from loom_run._chat import Desk  # noqa: PLC0415
    from loom_run._progress import Progress  # noqa: PLC0415
    from loom_run._setup import SetupChange  # noqa: PLC0415

    if options["model"] is not None and options["mock_llm"] is not None:
        raise click.UsageError("--model and --mock-llm exclude each other")
    change = SetupChange(options["workspace"], options["model"], options["mock_llm"], options["test_command"])
    named = {
        "max_tokens": options["max_tokens"],
        "max_cost_usd": options["max_cost"],
        "max_requests": options["max_requests"],
    }
    limits = {name: value for name, value in named.items() if value is not None}
    progress = Progress(output, is_live=_is_terminal(sys.stdout))
    return change, limits, Desk(progress, options["max_steps"], options["trace"], options["record"])


def _told(turn: "Turn", desk: "Desk", db: str, output: Output) -> int:
    """Write how the turn ended: the answer to stdout, the rest to stderr. Returns the exit code."""
    from loom_run._story import ending  # noqa: PLC0415

    streamed = desk.progress.has_streamed
    desk.progress.end_line()
    command = _command("resume", turn.run_id, db)
    if output != "text":
        whole = turn.to_json() | {"resume_command": None if turn.standing == "answered" else command}
        write_json({"type": "result", **whole} if output == "jsonl" else whole, output)
        return turn.exit_code
    if turn.answer is not None and not streamed:
        from loom_run._lines import printable  # noqa: PLC0415

        write_line(printable(turn.answer) if _is_terminal(sys.stdout) else turn.answer)
    write_error(ending(turn, again=_command("chat -r", turn.run_id, db), resume=command))
    return turn.exit_code


def _message(message: str | None, *, may_ask: bool) -> str | None:
    """Check the message; None when a person at a terminal is to be asked for it."""
    if message == "-":
        message = _read_input()
    if message is None:
        if may_ask and _is_terminal(sys.stdin) and _is_terminal(sys.stdout):
            return None
        raise click.UsageError('there is no message. Give one: loom-run chat "...", or - to read standard input')
    if not message.strip():
        raise LoomRunError("cannot chat: because the message is empty. Say something.")
    try:
        message.encode()
    except UnicodeEncodeError as exc:
        raise LoomRunError(NO_TEXT) from exc
    return message


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # it is None when the shell closed it


def _read_input() -> str:
    try:
        return "" if sys.stdin is None else sys.stdin.read().rstrip("\n")
    except UnicodeDecodeError as exc:
        raise LoomRunError(NO_TEXT) from exc


def _one_run(run: str | None, run_id: str | None) -> str:
    if (run is None) == (run_id is None):
        raise click.UsageError("name one run: as the argument, or with --run-id")
    return run if run is not None else str(run_id)


def _command(verb: str, run_id: str, db: str) -> str:
    import shlex  # noqa: PLC0415

    return f"loom-run {verb} {shlex.quote(run_id)}" + ("" if db == DEFAULT_DB else f" --db {shlex.quote(db)}")


cli.add_command(config)
cli.add_command(mcp)
