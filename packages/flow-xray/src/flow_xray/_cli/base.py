"""Shared by the commands: exit codes, the parser, output, reading traces.

No command is imported here.

Exit codes: 0 done, 1 failed, 2 usage (a missing file included), 8 a trace that cannot be read or is
too new, 130 interrupted. `run` ends with the exit code of what it ran.
"""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from flow_xray._errors import TraceOutputError
from flow_xray.terminal import visible, visible_json

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from flow_xray._result import TraceResult

DONE, FAILED, USAGE, UNREADABLE, INTERRUPTED = 0, 1, 2, 8, 130

Command: TypeAlias = Callable[[argparse.Namespace], int]
"""Runs a command with its options and returns the exit code."""

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001  argparse has no public name for it
"""The parser of the commands, to which each command adds its own."""


class Parser(argparse.ArgumentParser):
    """A parser that wraps a given usage line at the width of the terminal, too."""

    def format_help(self) -> str:
        """Return the help."""
        self.usage = _wrapped(self.usage)
        return super().format_help()

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Print the help; unlike in argparse, a stdout that cannot be written is an error."""
        stream = sys.stdout if file is None else file
        if stream is not None:
            stream.write(self.format_help())

    def format_usage(self) -> str:
        """Return the usage line."""
        self.usage = _wrapped(self.usage)
        return super().format_usage()

    def error(self, message: str) -> NoReturn:
        """Print the error in the arguments in one line, and exit."""
        is_complete = message.startswith("cannot ")
        print_error(message if is_complete else f"{self.prog}: {message}. Try `{self.prog} --help`.")
        raise SystemExit(USAGE)


def _wrapped(usage: str | None) -> str | None:
    if usage is None:
        return None
    import shutil
    import textwrap

    width = max(20, shutil.get_terminal_size().columns - 2 - len("usage: "))
    parts = textwrap.wrap(" ".join(usage.split()), width, break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * len("usage: ")).join(parts)


def print_output(text: str) -> None:
    """Print a line or more to stdout; what could command a terminal is shown."""
    _print(visible(text))


def print_json(text: str) -> None:
    """Print JSON to stdout; what could command a terminal is escaped as JSON does."""
    _print(visible_json(text))


def _print(text: str) -> None:
    if sys.stdout is not None:  # None when the caller closed it
        try:
            sys.stdout.write(text + "\n")
        except UnicodeEncodeError:  # a terminal or a pipe whose encoding lacks a character
            encoding = sys.stdout.encoding
            sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()


def print_error(message: str) -> None:
    """Print one line to stderr."""
    with suppress(OSError, AttributeError):  # a full or closed stderr must not cause a traceback
        sys.stderr.write(visible(message) + "\n")
        sys.stderr.flush()


def usage_error(message: str) -> int:
    """Print one line to stderr and return the exit code for wrong usage."""
    print_error(message)
    return USAGE


def is_json_output(options: argparse.Namespace) -> bool:
    """Return whether to print JSON: with `--format json`, or by default into a pipe."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return options.format == "json" or (options.format is None and not is_terminal)


def add_prices(parser: argparse.ArgumentParser) -> None:
    """Add `--prices`."""
    parser.add_argument(
        "--prices",
        metavar="FILE",
        help='a price file: {"models": {NAME: {"input": USD, "output": USD}}}, for a million tokens',
    )


def read_trace(*paths: str, is_partial_fine: bool = False) -> "TraceResult":
    """Read trace files of any format; print on stderr what could not be read.

    Args:
        *paths: The paths of the files; several are joined into one trace.
        is_partial_fine: Read the intact part of a damaged file; the caller prints the notes.

    Raises:
        TraceFormatError: A file is not a trace, or cannot be read.
    """
    from flow_xray._result import read_trace_files

    result = read_trace_files(paths, is_partial_fine=is_partial_fine)
    if not is_partial_fine:
        from flow_xray._analysis.summary import notes_of

        for note in notes_of(result):
            print_error(f"note: {note}")
    return result


def files_exist(*paths: str) -> bool:
    """Return whether all these files exist; print an error for the first that does not."""
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110  pathlib costs 9 ms
            print_error(f"cannot read {path!r}: because there is no such file. Give a .xray journal or a JSON trace.")
            return False
    return True


def sources_exist(paths: list[str]) -> bool:
    """Return whether these files or folders of source exist.

    Print an error for the first that does not.
    """
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110  as above
            print_error(f"cannot read the source {path!r}: because there is no such file or folder. Give another path.")
            return False
    return True


def refuse_to_replace(target: str) -> None:
    """Refuse to replace a file that is not a page of flow-xray, when the user did not name it.

    Raises:
        TraceOutputError: Another file exists at this path.
    """
    try:
        with open(target, "rb") as stream:  # noqa: PTH123  as above
            head = stream.read(2_000)
    except OSError:
        return
    if head and b'content="flow-xray"' not in head:
        raise TraceOutputError(
            f"cannot write {target!r}: because a file of another kind exists there. Give another path with --html."
        )
