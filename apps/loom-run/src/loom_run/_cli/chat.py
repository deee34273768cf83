"""The commands that drive a run: chat, supervise, resume. Heavy imports are inside them, for a fast
`--help`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click
from loom_agents.cli import BareFlags
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

from loom_run._cli.options import (
    command_text,
    db_option,
    drive_output_option,
    limit_options,
    required_run,
    run_argument,
    run_id_option,
    setup_change,
    setup_options,
)
from loom_run._errors import LOOM_RUN, LoomRunError

if TYPE_CHECKING:
    from loom_run._chat.conversation import Conversation, Limits, RunOptions
    from loom_run._chat.turn import Turn
    from loom_run._config.setup_change import SetupChange
    from loom_run._report.progress import Progress

__all__ = ["chat", "resume", "supervise"]

NOT_TEXT = "cannot chat: the message is not valid text. Write it in UTF-8."


@click.command(cls=BareFlags)
@click.argument("message", required=False, metavar="[MESSAGE|-]")
@run_id_option
@click.option("--continue", "-c", "latest", is_flag=True, help="Continue the latest chat.")
@db_option
@setup_options
@limit_options
@drive_output_option
def chat(*, message: str | None, run_id: str | None, latest: bool, db: str, output: Output, **options: Any) -> int:
    """Send a message and print the answer.

    `-` as the message reads it from standard input. Without a message, at a terminal, it is a
    session: type messages until Ctrl-D.

    A new --run-id starts a chat. An existing one continues it: the same message finishes its turn
    or prints the stored answer, another one opens the next turn, or answers what the model has
    asked.
    """
    with errors_as_json(output, run_id):
        text = _message(message, may_ask=output == "text")
        if latest and run_id is not None:
            raise click.UsageError("--continue and --run-id exclude each other")
        return _drive(text, run_id, latest=latest, db=db, output=output, options=options)


@click.command(cls=BareFlags)
@click.argument("message", metavar="MESSAGE|-")
@run_id_option
@db_option
@setup_options
@limit_options
@drive_output_option
def supervise(*, message: str, run_id: str | None, db: str, output: Output, **options: Any) -> int:
    """Let a team work on a task: plan, delegate, merge, verify.

    The agents are those of loom.toml ([agents.NAME]: prompt, tools, model, limits), or a
    researcher, a coder and a verifier. Each delegated task is a run of its own, RUN:sub:AGENT; they
    share the limits of the run. `loom-run chat -r RUN` continues with the agent that leads.
    """
    with errors_as_json(output, run_id):
        text = _message(message, may_ask=False)
        return _drive(text, run_id, latest=False, db=db, output=output, options=options, leads=True)


@click.command(cls=BareFlags)
@run_argument
@db_option
@setup_options
@limit_options
@drive_output_option
def resume(*, run: str | None, run_id: str | None, db: str, output: Output, **options: Any) -> int:
    """Resume a run that has not ended.

    It was killed, interrupted, paused, stopped by a limit, it failed, or the approval that it
    waited for was decided. What is recorded is not repeated.
    """
    name = required_run(run, run_id)
    with errors_as_json(output, name):
        from loom_run._chat.conversation import Conversation
        from loom_run._chat.database import chat_run_id

        command = _Drive(output, options)
        with LOOM_RUN.open_database(db) as store, LOOM_RUN.translate_agent_errors():
            conversation = Conversation(store, chat_run_id(store, name))
            work = conversation.resume(command.change, command.limits, command.options)
            turn = run_async(work, hint=f"Resume: {command_text('resume', name, db)}")
            turn = _resolve(turn, conversation, command, db)
        return _report(turn, command, db)


class _Drive:
    """Hold what the options of one command set for a conversation."""

    change: "SetupChange"
    limits: "Limits"
    options: "RunOptions"
    progress: "Progress"

    def __init__(self, output: Output, options: dict[str, Any]) -> None:
        from loom_run._chat.conversation import RunOptions
        from loom_run._report.progress import Progress

        self.output = output
        self.change = setup_change(options)
        limits = {
            "max_tokens": options["max_tokens"],
            "max_cost_usd": options["max_cost"],
            "max_requests": options["max_requests"],
            "time_s": options["timeout"],
        }
        self.limits = {name: value for name, value in limits.items() if value is not None}
        self.progress = Progress(output, is_live=is_terminal(sys.stdout))
        max_steps = options["max_steps"] or self.change.settings.max_steps
        self.options = RunOptions(self.progress, max_steps, options["trace"], options["record"])


def _drive(
    text: str | None,
    run_id: str | None,
    *,
    latest: bool,
    db: str,
    output: Output,
    options: dict[str, Any],
    leads: bool = False,
) -> int:
    """Send a message, or start a session when there is none."""
    from loom_run._chat.conversation import Conversation
    from loom_run._chat.database import chat_run_id, latest_chat, new_run_id

    command = _Drive(output, options)
    change, limits = command.change, command.limits
    with LOOM_RUN.open_database(db, must_exist=False) as store, LOOM_RUN.translate_agent_errors():
        name = latest_chat(store) if latest else new_run_id() if run_id is None else run_id
        conversation = Conversation(store, chat_run_id(store, name, existing=False))
        if conversation.run_id != name:
            write_error(f"{name} is a run of another program here; this chat has the id {conversation.run_id}")
        if text is None:
            from loom_run._session.line_editor import terminal_reader
            from loom_run._session.session import COMMANDS, Session

            session = Session(
                conversation,
                change,
                limits,
                command.options,
                command.progress,
                lambda turn: _report(turn, command, db, in_session=True),
            )
            return session.run(terminal_reader(COMMANDS))
        if conversation.exists():
            work = conversation.send(text, change, limits, command.options)
        else:
            limits = change.default_limits() | limits
            work = conversation.start(text, change.new_setup(leads=leads), limits, command.options)
        turn = run_async(work, hint=f"Resume: {command_text('resume', name, db)}")
        turn = _resolve(turn, conversation, command, db)
    return _report(turn, command, db)


@contextmanager
def errors_as_json(output: Output, run_id: str | None) -> Iterator[None]:
    """Print a failure as JSON, too, when the command was asked for JSON; the line on stderr
    stays.
    """
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


def _resolve(turn: "Turn", conversation: "Conversation", command: _Drive, db: str) -> "Turn":
    """Ask a person at a terminal for what the run waits for; without a terminal it stays as it
    is.
    """
    waits = turn.question is not None or bool(turn.pending)
    if not (waits and command.output == "text" and is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return turn
    from loom_run._session.approval_prompts import ApprovalPrompts
    from loom_run._session.line_editor import terminal_reader

    hint = f"Resume: {command_text('resume', turn.run_id, db)}"
    prompts = ApprovalPrompts(terminal_reader(), command.progress, hint=hint)
    return prompts.resolve(turn, conversation, command.change, command.limits, command.options)[0]


def _report(turn: "Turn", command: _Drive, db: str, *, in_session: bool = False) -> int:
    """Write how the turn ended: the answer to stdout, the rest to stderr. Returns the exit code.

    In a session, the suggested commands are those of the session.
    """
    from loom_run._report.turn_ending import ending, usage_text

    streamed = command.progress.has_streamed
    command.progress.end_line()
    output, trace_error = command.output, command.options.trace_error
    resume_text = command_text("resume", turn.run_id, db)
    code = turn.exit_code if trace_error is None else turn.exit_code or ExitCode.FAILED
    if output != "text":
        next_command = None if turn.status == "answered" else resume_text
        whole = turn.to_json() | {"resume_command": next_command, "exit_code": int(code)}
        write_json({"type": "result", **whole} if output == "jsonl" else whole, output)
    else:
        if turn.answer is not None and not streamed:
            write_line(turn.answer)
        if in_session and turn.status == "answered":
            write_error(f"-- {usage_text(turn.state.usage)}")
        else:
            again = command_text("chat -r", turn.run_id, db)
            write_error(ending(turn, again=again, resume="/resume" if in_session else resume_text))
    if trace_error is not None:
        write_error(f"the answer is stored, but the page was not written: {trace_error}")
    return code


def _message(message: str | None, *, may_ask: bool) -> str | None:
    """Check the message; None when it is to be typed at the terminal."""
    if message == "-":
        message = _read_input()
    if message is None:
        if may_ask and is_terminal(sys.stdin) and is_terminal(sys.stdout):
            return None
        raise click.UsageError('there is no message. Give one: loom-run chat "...", or - to read standard input')
    if not message.strip():
        raise LoomRunError("cannot chat: the message is empty. Give a message.")
    try:
        message.encode()
    except UnicodeEncodeError as exc:
        raise LoomRunError(NOT_TEXT) from exc
    return message


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal."""
    return stream is not None and stream.isatty()  # it is None when the shell closed it


def _read_input() -> str:
    try:
        return "" if sys.stdin is None else sys.stdin.read().rstrip("\n")
    except UnicodeDecodeError as exc:
        raise LoomRunError(NOT_TEXT) from exc
