"""The command line of flow-xray: what the commands are; what they do is in the modules that they name.

Exit codes: 0 done, 1 failed, 2 usage (no such file included), 8 a trace that cannot be read or is too new, 130
interrupted. `run` ends with the exit code of what it ran.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from flow_xray._errors import FlowXrayError, TraceFormatError, TraceOutputError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from flow_xray._result import TraceResult

DONE, FAILED, USAGE, UNREADABLE, INTERRUPTED = 0, 1, 2, 8, 130
EXPORTS: Final = ("chrome", "dot", "json", "otlp", "speedscope")

Command: TypeAlias = Callable[[argparse.Namespace], int]
"""What a command does with its options; it returns the exit code."""


class Parser(argparse.ArgumentParser):
    """A parser whose own usage line is broken at the width of the terminal, as argparse breaks its own."""

    def format_help(self) -> str:
        """Return the help."""
        self.usage = _wrapped(self.usage)
        return super().format_help()

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Print the help; unlike argparse's own, a stdout that cannot be written is an error."""
        stream = sys.stdout if file is None else file
        if stream is not None:
            stream.write(self.format_help())

    def format_usage(self) -> str:
        """Return the usage line."""
        self.usage = _wrapped(self.usage)
        return super().format_usage()

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong with the arguments, and end."""
        complain(message if message.startswith("cannot ") else f"{self.prog}: {message}. Try `{self.prog} --help`.")
        raise SystemExit(USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; print one clear line when something is wrong."""
    try:
        code = _main(list(sys.argv[1:] if arguments is None else arguments))
        _flush()
    except TraceFormatError as error:
        complain(str(error))
        return UNREADABLE
    except FlowXrayError as error:
        complain(str(error))
        return FAILED
    except BrokenPipeError:
        _silence_stdout()
        return FAILED
    except OSError as error:
        what = "write to stdout" if error.filename is None else f"use {error.filename!r}"
        if error.filename is None:
            _silence_stdout()
        complain(f"cannot {what}: because {error.strerror or error}. Give another place.")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _main(given: list[str]) -> int:
    parser = _parser()
    head, rest = _split(given)
    try:
        options, unknown = parser.parse_known_args(head)
        if unknown and options.command == "run":
            words = " and ".join(map(repr, unknown))
            verb = "is none" if len(unknown) == 1 else "are none"
            parser.error(f"cannot run: because {words} {verb} of its options. Put arguments of the script after --.")
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    except SystemExit:  # argparse has shown the help, or has said what is wrong
        _flush()
        raise
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    if rest is not None and options.command != "run":
        parser.error(f"cannot take arguments after --: because {options.command} runs nothing. Leave them out.")
    options.arguments = rest or []
    command: Command = options.does
    return command(options)


def say(text: str) -> None:
    """Print an answer."""
    if sys.stdout is not None:  # closed by the caller: nobody wants to hear it
        try:
            sys.stdout.write(text + "\n")
        except UnicodeEncodeError:  # a terminal or a pipe that cannot say everything
            known = sys.stdout.encoding
            sys.stdout.write(text.encode(known, "backslashreplace").decode(known) + "\n")
        sys.stdout.flush()


def complain(message: str) -> None:
    """Print one line for a person, beside the answers."""
    with suppress(OSError, AttributeError):  # a stderr that is full or closed is no reason for a traceback
        sys.stderr.write(message + "\n")
        sys.stderr.flush()


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _silence_stdout() -> None:
    """Drop what is left in the buffer; else the interpreter would complain about it at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _wrapped(usage: str | None) -> str | None:
    if usage is None:
        return None
    import shutil
    import textwrap

    width = max(20, shutil.get_terminal_size().columns - 2 - len("usage: "))
    parts = textwrap.wrap(" ".join(usage.split()), width, break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * len("usage: ")).join(parts)


def _split(given: list[str]) -> tuple[list[str], list[str] | None]:
    """Split at `--`, behind which everything belongs to the script."""
    if "--" not in given:
        return given, None
    at = given.index("--")
    return given[:at], given[at + 1 :]


# ---------------------------------------------------------------------- the commands


def _parser() -> Parser:
    from flow_xray import _cli_analysis, _cli_context, _cli_gate

    parser = Parser(prog="flow-xray", description="Show what a program did, in one offline HTML file.")
    parser.add_argument("--version", action="version", version="flow-xray 0.7.0")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_run(commands)
    _add_view(commands)
    _add_export(commands)
    _add_diff(commands)
    for module in (_cli_gate, _cli_analysis, _cli_context):
        module.register(commands)
    return parser


def _add_run(commands: "argparse._SubParsersAction[Parser]") -> None:
    run = commands.add_parser(
        "run",
        help="run a script and write its trace",
        description="Run a script as __main__ and write the trace of its traced functions, whatever it raises. "
        "Arguments of the script come after --.",
        usage="flow-xray run [--html OUT] [--json OUT] [--journal FILE] [--lines] (SCRIPT | -m MODULE) "
        "[-- ARGUMENTS ...]",
    )
    run.add_argument("script", nargs="?", metavar="SCRIPT", help="path of a Python file")
    run.add_argument("-m", dest="module", metavar="MODULE", help="run a module instead")
    run.add_argument("--html", metavar="OUT", default="trace.html", help="where the page goes (default: trace.html)")
    run.add_argument("--json", metavar="OUT", help="also write the trace as JSON")
    run.add_argument(
        "--journal", metavar="FILE", help="keep the journal here (default: beside the page, removed at the end)"
    )
    run.add_argument("--lines", action="store_true", help="record which lines ran, for `flow-xray context`")
    run.set_defaults(does=_run)


def _add_view(commands: "argparse._SubParsersAction[Parser]") -> None:
    view = commands.add_parser(
        "view",
        help="turn a journal or a trace file into a page",
        description="Turn a journal (.xray, also of a killed or a running program), a JSON trace, OTLP/JSON "
        "(OpenTelemetry, also one request a line) or Chrome trace events into one HTML file.",
    )
    view.add_argument(
        "file",
        metavar="FILE",
        nargs="+",
        help="a journal or trace file; several make one trace; a folder of a TraceStore",
    )
    view.add_argument("--html", metavar="OUT", help="where the page goes (default: beside FILE, with the ending .html)")
    view.add_argument("--json", metavar="OUT", help="also write the trace as JSON")
    view.add_argument("--chrome", metavar="OUT", help="also write Chrome trace events (Perfetto, DevTools)")
    view.add_argument("--speedscope", metavar="OUT", help="also write a speedscope flame graph")
    _add_prices(view)
    view.add_argument(
        "--context",
        metavar="PATH",
        action="append",
        default=[],
        help="the source (a folder or file): the graph also shows what could have run",
    )
    view.add_argument(
        "--follow", action="store_true", help="serve the page on this machine and keep it current while FILE grows"
    )
    view.add_argument("--format", choices=("text", "json"), help="what is printed (default: text; JSON into a pipe)")
    view.set_defaults(does=_view)


def _add_export(commands: "argparse._SubParsersAction[Parser]") -> None:
    export = commands.add_parser(
        "export",
        help="write a trace for other tools",
        description="Write a trace as OTLP/JSON (any OpenTelemetry backend), Chrome trace events (Perfetto, DevTools), "
        "speedscope, Graphviz dot, or JSON of flow-xray.",
    )
    export.add_argument("file", metavar="FILE", nargs="+", help="whatever `flow-xray view` reads")
    export.add_argument("--to", choices=EXPORTS, required=True, help="the form to write")
    export.add_argument("--out", metavar="OUT", help="where it goes (default: stdout)")
    _add_prices(export)
    export.set_defaults(does=_export)


def _add_prices(parser: Parser) -> None:
    parser.add_argument(
        "--prices",
        metavar="FILE",
        help='your prices: {"models": {NAME: {"input": USD, "output": USD}}}, for a million tokens',
    )


def _add_diff(commands: "argparse._SubParsersAction[Parser]") -> None:
    diff = commands.add_parser(
        "diff",
        help="show what changed between two traces",
        description="Show which calls came, went, moved or behaved differently. Exit code 1 when there are any.",
    )
    diff.add_argument("before", metavar="A", help="a journal or a trace file")
    diff.add_argument("after", metavar="B", help="the same, of the later run")
    diff.add_argument("--html", metavar="OUT", help="write the difference as a page")
    diff.add_argument(
        "--ignore", metavar="NAME", action="append", default=[], help="a member that does not count, at any depth"
    )
    diff.set_defaults(does=_compare)


# The modules of the commands are loaded when a command runs: --help loads none of them.


def _run(options: argparse.Namespace) -> int:
    from flow_xray._run_script import run_script

    return run_script(options, options.arguments)


def _view(options: argparse.Namespace) -> int:
    from flow_xray._cli_view import view

    return view(options)


def _export(options: argparse.Namespace) -> int:
    from flow_xray._cli_view import export

    return export(options)


def _compare(options: argparse.Namespace) -> int:
    from flow_xray._cli_diff import compare

    return compare(options)


# ---------------------------------------------------------------------- what several commands need


def read_trace(*paths: str, is_partial_fine: bool = False) -> "TraceResult":
    """Read a journal or a trace file of any kind; several make one trace; say on stderr what could not be read.

    Args:
        *paths: of the files.
        is_partial_fine: take what is whole of a damaged file; the caller says what is missing.

    Raises:
        TraceFormatError: one is none of them, or cannot be read.
    """
    from flow_xray._inputs import read_files

    result = read_files(paths, is_partial_fine=is_partial_fine)
    if not is_partial_fine:
        from flow_xray._summary import notes_of

        for note in notes_of(result):
            complain(f"note: {note}")
    return result


def is_there(*paths: str) -> bool:
    """Say whether all these files exist; complain about the first that does not."""
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110  pathlib costs 9 ms
            complain(f"cannot read {path!r}: because there is no such file. Give a .xray journal or a JSON trace.")
            return False
    return True


def refuse_foreign(target: str) -> None:
    """Do not replace a file that is not one of our pages when its name was only guessed."""
    try:
        with open(target, "rb") as stream:  # noqa: PTH123  pathlib costs 9 ms
            head = stream.read(2_000)
    except OSError:
        return
    if head and b'content="flow-xray"' not in head:
        raise TraceOutputError(
            f"cannot write {target!r}: because a file of another kind is there. Say where with --html."
        )
