"""What every command of the stack shares: exit codes, one-line errors, output modes, tables, Ctrl-C.

The exit codes, the same everywhere:

| code | meaning |
|---|---|
| 0 | done, or paused because the caller asked for a slice |
| 1 | failed |
| 2 | usage: unknown run, module or option |
| 3 | waiting: approval, signal, timer, a call in doubt |
| 4 | a limit was reached: tokens, cost, time, tool calls |
| 5 | denied |
| 6 | provider or authentication |
| 7 | the run is busy in another process, or was taken over by one |
| 8 | the store cannot be read or is too new |
| 130 | interrupted; the run can be resumed |
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeVar

import click

from loom_runner._errors import LeaseLost, RunBusy, RunnerError, StoreError, UsageError
from loom_runner._human import duration, plural, shorten, size

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from loom_runner._states import Status

__all__ = [
    "ExitCode",
    "Interrupted",
    "Output",
    "choose_output",
    "duration",
    "exit_code_of_error",
    "exit_code_of_status",
    "output_option",
    "plural",
    "run_async",
    "run_command",
    "shorten",
    "size",
    "styled_status",
    "write_error",
    "write_json",
    "write_line",
    "write_rows",
]

T = TypeVar("T")


class ExitCode(IntEnum):
    """The exit codes of every command of the stack (the table is in this module's docstring)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3
    LIMIT = 4
    DENIED = 5
    PROVIDER = 6
    BUSY = 7
    STORE = 8
    INTERRUPTED = 130


_OF_STATUS: Final[dict[Status, ExitCode]] = {
    "created": ExitCode.DONE,
    "running": ExitCode.DONE,
    "paused": ExitCode.DONE,
    "completed": ExitCode.DONE,
    "waiting": ExitCode.WAITING,
    "failed": ExitCode.FAILED,
    "parked": ExitCode.FAILED,
    "cancelled": ExitCode.DENIED,
}
_OF_ERROR: Final[tuple[tuple[type[BaseException], ExitCode], ...]] = (
    (UsageError, ExitCode.USAGE),
    (RunBusy, ExitCode.BUSY),
    (LeaseLost, ExitCode.BUSY),
    (StoreError, ExitCode.STORE),
    (RunnerError, ExitCode.FAILED),
)


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM ended the command: control flow, like KeyboardInterrupt. The text is what to do next."""


def exit_code_of_status(status: Status) -> ExitCode:
    """Say with which code a command ends that leaves a run in this status."""
    return _OF_STATUS[status]


def exit_code_of_error(error: BaseException) -> ExitCode:
    """Say with which code a command ends by this error; an `exit_code` attribute of the error decides first."""
    own = getattr(error, "exit_code", None)
    if isinstance(own, int) and not isinstance(error, click.ClickException):
        return ExitCode(own)
    if isinstance(error, click.UsageError):
        return ExitCode.USAGE
    return next((code for kind, code in _OF_ERROR if isinstance(error, kind)), ExitCode.FAILED)


# ---------------------------------------------------------------------- output

Output = Literal["text", "json", "jsonl"]


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--output text|json|jsonl` to a click command."""
    return click.option(
        "--output",
        type=click.Choice(["text", "json", "jsonl"]),
        default=None,
        help="How to answer; text for a terminal and json for a pipe when not said.",
    )(command)


def choose_output(output: Output | None) -> Output:
    """Take what was asked for, else text for a person and JSON for a pipe."""
    return output or ("text" if sys.stdout is not None and sys.stdout.isatty() else "json")


def write_line(text: str = "") -> None:
    """Write a line of the answer to stdout. A reader that has gone away is not an error."""
    try:
        click.echo(text)
    except BrokenPipeError:
        _forget_stdout()


def write_error(text: str) -> None:
    """Write a line for people to stderr."""
    try:
        click.echo(text, err=True)
    except BrokenPipeError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (stays open to the end)


def write_json(value: Any, output: Output = "json") -> None:
    """Write one JSON value: indented for `json`, on one line for `jsonl`."""
    write_line(json.dumps(value, ensure_ascii=False, indent=2 if output == "json" else None))


def write_rows(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, Callable[[Mapping[str, Any]], str]],
    output: Output,
    *,
    empty: str,
) -> None:
    """Write rows: JSON, JSON Lines, or a table of `columns` that fits the terminal.

    Args:
        rows: JSON objects.
        columns: For each heading, how a row shows there. The last column gives way when the terminal is narrow.
        empty: What a person reads when there is nothing.
    """
    if output == "json":
        write_json(list(rows))
    elif output == "jsonl":
        for row in rows:
            write_json(row, "jsonl")
    else:
        cells = [[show(row) for show in columns.values()] for row in rows]
        if not cells:
            write_error(empty)
            return
        for line in _table(list(columns), cells, terminal_width()):
            write_line(line)


def terminal_width() -> int:
    """The width that text may take: the terminal's; 100 columns where there is none."""
    return max(shutil.get_terminal_size((100, 24)).columns, 30)


def _table(heads: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> Iterable[str]:
    plain = [[click.unstyle(cell) for cell in row] for row in cells]
    widths = [max(len(head), *(len(row[index]) for row in plain)) for index, head in enumerate(heads)]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        # The last column gives way first; then the widest of the others.
        index = len(widths) - 1 if widths[-1] > 12 else max(range(len(widths)), key=widths.__getitem__)
        if widths[index] <= 4:
            break
        widths[index] -= 1
    shown_heads = [shorten(head, wide).ljust(wide) for head, wide in zip(heads, widths, strict=True)]
    yield click.style("  ".join(shown_heads).rstrip(), bold=True)
    for row, bare in zip(cells, plain, strict=True):
        parts = []
        for cell, text, wide in zip(row, bare, widths, strict=True):
            shown = cell if len(text) <= wide else shorten(text, wide)
            parts.append(shown + " " * (wide - len(click.unstyle(shown))))
        yield "  ".join(parts).rstrip()


_COLOURS: Final = {
    "completed": "green",
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "parked": "red",
    "in doubt": "yellow",
    "interrupted": "yellow",
    "waiting": "yellow",
}


def styled_status(status: str) -> str:
    """Colour a status the same way everywhere."""
    return click.style(status, fg=_COLOURS.get(status))


def _forget_stdout() -> None:
    # Python would complain about the lost reader again when it flushes at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


# ---------------------------------------------------------------------- running


def run_async(work: Coroutine[Any, Any, T], *, hint: str = "") -> T:
    """Run a coroutine to its end; Ctrl-C and SIGTERM cancel it, and it may clean up.

    Raises:
        Interrupted: It was cancelled that way; the text is `hint`.
    """
    import asyncio  # noqa: PLC0415  (40 ms that --help does not need)

    async def guarded() -> T:
        task = asyncio.current_task()
        if task is not None and sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(guarded())
    except (KeyboardInterrupt, asyncio.CancelledError) as exc:
        raise Interrupted(f"interrupted. {hint}".strip()) from exc


def run_command(command: click.Command, arguments: Sequence[str] | None = None, *, name: str) -> NoReturn:
    """Run a click command and leave the process with the right code; any error is one line on stderr."""
    try:
        code = _run_command(command, arguments, name)
        if sys.stdout is not None:  # it is None when the shell closed it
            sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        code = ExitCode.DONE
    sys.exit(code)


def _run_command(command: click.Command, arguments: Sequence[str] | None, name: str) -> int:
    try:
        if os.environ.get("NO_COLOR"):
            result = command.main(arguments, name, standalone_mode=False, color=False)
        else:
            result = command.main(arguments, name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        write_error(exc.format_message())
        return ExitCode.USAGE
    except click.ClickException as exc:
        where = getattr(getattr(exc, "ctx", None), "command_path", name)
        write_error(f"{where}: {' '.join(exc.format_message().split())} (see {where} --help)")
        return exit_code_of_error(exc) if isinstance(exc, click.UsageError) else exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        write_error("interrupted.")
        return ExitCode.INTERRUPTED
    except Interrupted as exc:
        write_error(str(exc))
        return ExitCode.INTERRUPTED
    except RunnerError as exc:
        write_error(" ".join(str(exc).split()))
        return exit_code_of_error(exc)
    except BrokenPipeError:
        raise
    except Exception as exc:
        if os.environ.get("LOOM_DEBUG"):
            raise
        text = " ".join(str(exc).split())
        write_error(f"{name}: internal error: {type(exc).__name__}: {text} (LOOM_DEBUG=1 shows where)")
        return ExitCode.FAILED
    return result if isinstance(result, int) else ExitCode.DONE
