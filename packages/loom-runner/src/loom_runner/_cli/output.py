"""The output of commands: answers on stdout as text or JSON, messages on stderr, tables that fit
the terminal.

Text from anywhere may be written: the writers show what could command a terminal as escapes (see
`flow_xray.terminal`). Only `styled` gives text a style. It marks the text with a random value of
this process, which nobody else can write, and the writers turn these marks into the terminal's
sequences.

Nothing depends on colour or Unicode. While code of users is loaded and run, what it prints goes to
stderr if the answer is JSON (`user_output_to_stderr`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, cast

import click

from loom_runner._model.formatting import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from io import TextIOWrapper

__all__ = [
    "Output",
    "choose_output",
    "discard_stdout",
    "output_option",
    "prepare_streams",
    "shown",
    "styled",
    "styled_status",
    "take_write_error",
    "terminal_width",
    "unstyled",
    "user_output_to_stderr",
    "write_error",
    "write_json",
    "write_line",
    "write_rows",
]

Output = Literal["text", "json", "jsonl"]


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--output text|json|jsonl` to a click command."""
    return click.option(
        "--output",
        type=click.Choice(["text", "json", "jsonl"]),
        default=None,
        help="The output format; by default text for a terminal, and json for a pipe.",
    )(command)


_answers: list[TextIO] = []
"""Where answers go while stdout belongs to users' code; empty means `sys.stdout`."""


def _stdout() -> TextIO | None:
    """Return the stream for answers; None if the shell closed stdout."""
    return _answers[0] if _answers else sys.stdout


@contextlib.contextmanager
def user_output_to_stderr() -> Iterator[None]:
    """Send what anybody but this module writes to stdout to stderr, so that the JSON on stdout can
    be parsed.

    This holds for `print`, for C libraries and for child processes: the file descriptor 1 becomes
    that of stderr, and stays so until the process ends, because code of users may print at exit.
    Where `sys.stdout` has another descriptor (in a test), it is replaced for the block.
    """
    if _answers or sys.stdout is None:
        yield
        return
    stdout = sys.stdout
    if _descriptor(stdout) == 1:
        stdout.flush()
        answers = open(  # noqa: SIM115  (stays open to the end)
            os.dup(1), "w", encoding=stdout.encoding, errors="backslashreplace", closefd=False
        )
        _answers.append(answers)
        if _descriptor(sys.stderr) == 2:
            os.dup2(2, 1)
        else:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        cast("TextIOWrapper", stdout).reconfigure(line_buffering=True)
        yield
        return
    _answers.append(stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _answers.clear()


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # it is closed, or no file
        return None


def choose_output(output: Output | None) -> Output:
    """Return the given format, by default text for a terminal and JSON for a pipe."""
    stdout = _stdout()
    return output or ("text" if stdout is not None and stdout.isatty() else "json")


def prepare_streams() -> None:
    """Make stdout and stderr write characters outside their encoding as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            cast("TextIOWrapper", stream).reconfigure(errors="backslashreplace")


def write_line(text: str = "", *, keep_lines: bool = True) -> None:
    """Write a line of the answer to stdout.

    A closed pipe is not an error; another error is reported when the command ends.

    Args:
        keep_lines: The text may have several lines; otherwise its line feeds and tabs are shown, so
            that no text in it can pose as a line of ours.
    """
    _write_answer(shown(text, keep_lines=keep_lines))


def _write_answer(text: str) -> None:
    try:
        click.echo(text, file=_stdout())
    except OSError as exc:
        discard_stdout(exc)


def write_error(text: str) -> None:
    """Write a line for people to stderr."""
    try:
        click.echo(shown(text), err=True)
    except OSError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (stays open to the end)


def write_json(value: Any, output: Output = "json") -> None:
    """Write one JSON value: indented for `json`, on one line for `jsonl`; ASCII unless stdout is
    Unicode.
    """
    from flow_xray.terminal import visible_json

    encoding = (getattr(_stdout(), "encoding", None) or "utf-8").lower().replace("-", "")
    indent = 2 if output == "json" else None
    _write_answer(visible_json(json.dumps(value, ensure_ascii=not encoding.startswith("utf"), indent=indent)))


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
        columns: For each heading, a function that formats the cell of a row. The last column is
            shortened first.
        empty: The message for text output without rows.
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
    """Return the width for text in columns: the terminal's, at least 30; 100 without a terminal."""
    return max(shutil.get_terminal_size((100, 24)).columns, 30)


def _table(heads: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> Iterable[str]:
    from flow_xray.terminal import visible_line

    plain = [[visible_line(unstyled(cell)) for cell in row] for row in cells]
    widths = [max(len(head), *(len(row[index]) for row in plain)) for index, head in enumerate(heads)]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        # Shorten the last column first, then the widest of the others.
        index = len(widths) - 1 if widths[-1] > 12 else max(range(len(widths)), key=widths.__getitem__)
        if widths[index] <= 4:
            break
        widths[index] -= 1
    shown_heads = [shorten(head, wide).ljust(wide) for head, wide in zip(heads, widths, strict=True)]
    yield styled("  ".join(shown_heads).rstrip(), bold=True)
    for row, bare in zip(cells, plain, strict=True):
        parts = []
        for cell, text, wide in zip(row, bare, widths, strict=True):
            fitting = text if len(text) <= wide else shorten(text, wide)
            parts.append(_like(cell, fitting) + " " * (wide - len(fitting)))
        yield "  ".join(parts).rstrip()


_COLOURS: Final = {
    "approved": "green",
    "cancelled": "red",
    "completed": "green",
    "denied": "red",
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "parked": "red",
    "in_doubt": "yellow",
    "interrupted": "yellow",
    "paused": "cyan",
    "pending": "yellow",
    "waiting": "yellow",
}


def styled_status(status: str) -> str:
    """Return a status in its colour."""
    return styled(status, fg=_COLOURS.get(status))


_SECRET: Final = os.urandom(8).hex()
_MARK: Final = re.compile(rf"\x1b\[{_SECRET}((?:;[0-9]{{1,3}})+)m")
_RESET: Final = f"\x1b[{_SECRET};0m"


def styled(text: str, *, fg: str | None = None, bold: bool = False, dim: bool = False) -> str:
    """Return text with a style, for the writers of this module."""
    codes = click.style("", fg=fg, bold=bold or None, dim=dim or None, reset=False)
    marks = codes.replace("\x1b[", f"\x1b[{_SECRET};")
    return f"{marks}{text}{_RESET}" if marks else text


def unstyled(text: str) -> str:
    """Return text without the marks of `styled`."""
    return _MARK.sub("", text)


def shown(text: str, *, keep_lines: bool = True) -> str:
    """Return text as it may be written to a terminal: what could command it is visible, the marks
    of `styled` are its sequences.
    """
    from flow_xray.terminal import visible, visible_line

    escaped = visible if keep_lines else visible_line
    parts = _MARK.split(text)
    return "".join(f"\x1b[{part[1:]}m" if index % 2 else escaped(part) for index, part in enumerate(parts))


def _like(cell: str, text: str) -> str:
    """Return text in the style of a cell."""
    marks = "".join(mark[0] for mark in _MARK.finditer(cell) if mark[0] != _RESET)
    return f"{marks}{text}{_RESET}" if marks else text


_write_errors: list[OSError] = []


def discard_stdout(error: OSError) -> None:
    """Discard further output to stdout after an error, and keep the error unless it is a closed
    pipe.
    """
    if not isinstance(error, BrokenPipeError):
        _write_errors.append(error)
    # Otherwise Python reports the closed pipe again when it flushes stdout at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), _answers[0].fileno() if _answers else 1)


def take_write_error() -> OSError | None:
    """Return the first error of writing to stdout, and forget it; None if there was none."""
    error = _write_errors[0] if _write_errors else None
    _write_errors.clear()
    return error
