"""The commands that let a run work. Everything heavy is imported inside them, so that `--help` is quick."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click
from loom_runner import RunnerError
from loom_runner.cli_base import (
    ExitCode,
    Interrupted,
    Output,
    exit_code_of_error,
    run_async,
    write_error,
    write_json,
    write_line,
)

from loom_run._cli_config import config
from loom_run._cli_deciding import DECIDING_COMMANDS
from loom_run._cli_looking import LOOKING_COMMANDS
from loom_run._cli_mcp import mcp
from loom_run._cli_serve import serve
from loom_run._errors import LoomRunError, agent_errors_named
from loom_run._options import (
    BareFlags,
    command_text,
    db_option,
    limit_options,
    one_run,
    run_argument,
    run_id_option,
    setup_change,
    setup_options,
    work_output_option,
)

if TYPE_CHECKING:
    from loom_run._chat import Conversation, Desk
    from loom_run._setup import SetupChange
    from loom_run._turn import Turn

NO_TEXT = "cannot chat: the message is not valid text. Write it in UTF-8."


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loom-run")
def cli() -> None:
    """A chat agent on your repository that you can kill and resume.

    Every step is committed before the next begins. Kill the process whenever you like; the same command, or
    `loom-run resume`, goes on without repeating what is on record.
    """


@cli.command(cls=BareFlags)
@click.argument("message", required=False, metavar="[MESSAGE|-]")
@run_id_option
@click.option("--continue", "-c", "latest", is_flag=True, help="Go on with the latest chat.")
@db_option
@setup_options
@limit_options
@work_output_option
def chat(*, message: str | None, run_id: str | None, latest: bool, db: str, output: Output, **options: Any) -> int:
    """Send a message and print the answer.

    `-` as the message reads it from standard input. Without a message, at a terminal, it is a session: type
    messages until Ctrl-D.

    A new --run-id starts a chat. A known one goes on: the same message finishes its turn or gives the stored
    answer, another one opens the next turn, or answers what the model has asked.
    """
    with errors_as_json(output, run_id):
        text = _message(message, may_ask=output == "text")
        if latest and run_id is not None:
            raise click.UsageError("--continue and --run-id exclude each other")
        return _talk(text, run_id, latest=latest, db=db, output=output, options=options)


@cli.command(cls=BareFlags)
@click.argument("message", metavar="MESSAGE|-")
@run_id_option
@db_option
@setup_options
@limit_options
@work_output_option
def supervise(*, message: str, run_id: str | None, db: str, output: Output, **options: Any) -> int:
    """Let a team work on a task: plan, delegate, merge, verify.

    The agents are those of loom.toml ([agents.NAME]: prompt, tools, model, limits), or a researcher, a coder and a
    verifier. Each errand is a run of its own, RUN:sub:AGENT; they share what the run may use. `loom-run chat -r RUN`
    goes on with the one who leads.
    """
    with errors_as_json(output, run_id):
        text = _message(message, may_ask=False)
        return _talk(text, run_id, latest=False, db=db, output=output, options=options, leads=True)


@cli.command(cls=BareFlags)
@run_argument
@db_option
@setup_options
@limit_options
@work_output_option
def resume(*, run: str | None, run_id: str | None, db: str, output: Output, **options: Any) -> int:
    """Go on with a run that did not end.

    It was killed, interrupted, paused, stopped by a limit, it failed, or it waited for a word that was given. What is
    on record is not repeated.
    """
    name = one_run(run, run_id)
    with errors_as_json(output, name):
        from loom_run._chat import Conversation
        from loom_run._stores import chat_name, opened

        change, limits, desk = _parts(output, options)
        with opened(db, existing=True) as store, agent_errors_named():
            conversation = Conversation(store, chat_name(store, name))
            work = conversation.go_on(change, limits, desk)
            turn = run_async(work, hint=f"Go on: {command_text('resume', name, db)}")
            turn = _settled(turn, conversation, change=change, limits=limits, desk=desk, db=db, output=output)
        return _told(turn, desk, db, output)


def _talk(
    text: str | None,
    run_id: str | None,
    *,
    latest: bool,
    db: str,
    output: Output,
    options: dict[str, Any],
    leads: bool = False,
) -> int:
    """Send a message, or hold a session when there is none."""
    from loom_run._chat import Conversation
    from loom_run._stores import chat_name, latest_chat, new_run_id, opened

    change, limits, desk = _parts(output, options)
    with opened(db) as store, agent_errors_named():
        name = latest_chat(store) if latest else new_run_id() if run_id is None else run_id
        conversation = Conversation(store, chat_name(store, name, existing=False))
        if conversation.run_id != name:
            write_error(f"{name} is a run of another program here; this chat is kept as {conversation.run_id}")
        if text is None:
            from loom_run._session import COMMANDS, Session, terminal_reader

            session = Session(
                conversation, change, limits, desk, lambda turn: _told(turn, desk, db, output, in_session=True)
            )
            return session.run(terminal_reader(COMMANDS))
        if conversation.exists():
            work = conversation.say(text, change, limits, desk)
        else:
            work = conversation.begin(text, change.first(leads=leads), change.first_limits() | limits, desk)
        turn = run_async(work, hint=f"Go on: {command_text('resume', name, db)}")
        turn = _settled(turn, conversation, change=change, limits=limits, desk=desk, db=db, output=output)
    return _told(turn, desk, db, output)


for command in (*LOOKING_COMMANDS, *DECIDING_COMMANDS, config, mcp, serve):
    cli.add_command(command)


@contextmanager
def errors_as_json(output: Output, run_id: str | None) -> Iterator[None]:
    """Let a command that was asked for JSON answer in JSON also when it fails; the line on stderr stays."""
    try:
        yield
    except (RunnerError, click.ClickException, Interrupted) as exc:
        if output != "text":
            is_interrupted = isinstance(exc, Interrupted)
            code = ExitCode.INTERRUPTED if is_interrupted else exit_code_of_error(exc)
            kind = "Interrupted" if is_interrupted else type(exc).__name__
            text = exc.format_message() if isinstance(exc, click.ClickException) else str(exc)
            facts = {
                "run_id": getattr(exc, "run_id", None) or run_id,
                "status": "interrupted" if is_interrupted else "error",
                "exit_code": int(code),
                "error": {"type": kind, "message": " ".join(text.split())},
            }
            write_json({"type": "result", **facts} if output == "jsonl" else facts, output)
        raise


def _parts(output: Output, options: dict[str, Any]) -> "tuple[SetupChange, dict[str, Any], Desk]":
    """Turn options into what a conversation takes."""
    from loom_run._chat import Desk
    from loom_run._progress import Progress

    change = setup_change(options)
    named = {
        "max_tokens": options["max_tokens"],
        "max_cost_usd": options["max_cost"],
        "max_requests": options["max_requests"],
        "time_s": options["timeout"],
    }
    limits = {name: value for name, value in named.items() if value is not None}
    progress = Progress(output, is_live=is_terminal(sys.stdout))
    max_steps = options["max_steps"] or change.settings.max_steps
    return change, limits, Desk(progress, max_steps, options["trace"], options["record"])


def _settled(
    turn: "Turn",
    conversation: "Conversation",
    *,
    change: "SetupChange",
    limits: dict[str, Any],
    desk: "Desk",
    db: str,
    output: Output,
) -> "Turn":
    """Ask a person at a terminal for what the run waits for; without one it stays as it is."""
    waits = turn.question is not None or bool(turn.pending)
    if not (waits and output == "text" and is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return turn
    from loom_run._asking import Terminal
    from loom_run._session import terminal_reader

    terminal = Terminal(terminal_reader(), hint=f"Go on: {command_text('resume', turn.run_id, db)}")
    return terminal.settle(turn, conversation, change, limits, desk)[0]


def _told(turn: "Turn", desk: "Desk", db: str, output: Output, *, in_session: bool = False) -> int:
    """Write how the turn ended: the answer to stdout, the rest to stderr. Returns the exit code.

    A session goes on by itself, so it is told what to type there.
    """
    from loom_run._story import ending, usage_text

    streamed = desk.progress.has_streamed
    desk.progress.end_line()
    command = command_text("resume", turn.run_id, db)
    code = turn.exit_code if desk.page_error is None else turn.exit_code or ExitCode.FAILED
    if output != "text":
        resume = None if turn.standing == "answered" else command
        whole = turn.to_json() | {"resume_command": resume, "exit_code": int(code)}
        write_json({"type": "result", **whole} if output == "jsonl" else whole, output)
    else:
        if turn.answer is not None and not streamed:
            from loom_run._lines import printable

            write_line(printable(turn.answer) if is_terminal(sys.stdout) else turn.answer)
        if in_session and turn.standing == "answered":
            write_error(f"-- {usage_text(turn.state.usage)}")
        else:
            again = command_text("chat -r", turn.run_id, db)
            write_error(ending(turn, again=again, resume="/resume" if in_session else command))
    if desk.page_error is not None:
        write_error(f"the answer is kept; only its page is missing: {desk.page_error}")
    return code


def _message(message: str | None, *, may_ask: bool) -> str | None:
    """Check the message; None when a person at a terminal is to be asked for it."""
    if message == "-":
        message = _read_input()
    if message is None:
        if may_ask and is_terminal(sys.stdin) and is_terminal(sys.stdout):
            return None
        raise click.UsageError('there is no message. Give one: loom-run chat "...", or - to read standard input')
    if not message.strip():
        raise LoomRunError("cannot chat: the message is empty. Say something.")
    try:
        message.encode()
    except UnicodeEncodeError as exc:
        raise LoomRunError(NO_TEXT) from exc
    return message


def is_terminal(stream: TextIO | None) -> bool:
    """Say whether a stream is a terminal."""
    return stream is not None and stream.isatty()  # it is None when the shell closed it


def _read_input() -> str:
    try:
        return "" if sys.stdin is None else sys.stdin.read().rstrip("\n")
    except UnicodeDecodeError as exc:
        raise LoomRunError(NO_TEXT) from exc
