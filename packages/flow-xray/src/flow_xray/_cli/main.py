"""`flow-xray`: the commands and their common error handling."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from flow_xray._cli import analyze, check, context, diff, export, report, run, stats, view
from flow_xray._cli.base import FAILED, INTERRUPTED, UNREADABLE, USAGE, Command, Parser, print_error, print_output
from flow_xray._errors import FlowXrayError, TraceFormatError

_COMMANDS = (run, view, export, diff, check, stats, report, analyze, context)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; print an error as one clear line."""
    try:
        code = _main(list(sys.argv[1:] if arguments is None else arguments))
        _flush()
    except TraceFormatError as error:
        print_error(str(error))
        return UNREADABLE
    except FlowXrayError as error:
        print_error(str(error))
        return FAILED
    except BrokenPipeError:
        _discard_stdout()
        return FAILED
    except OSError as error:
        what = "write to stdout" if error.filename is None else f"use {error.filename!r}"
        if error.filename is None:
            _discard_stdout()
        print_error(f"cannot {what}: because {error.strerror or error}. Give another path.")
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
            verb = "is not an option" if len(unknown) == 1 else "are not options"
            parser.error(f"cannot run: because {words} {verb} of run. Put arguments of the script after --.")
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    except SystemExit:  # argparse has printed the help or the error
        _flush()
        raise
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    if rest is not None and options.command != "run":
        parser.error(f"cannot take arguments after --: because {options.command} runs nothing. Leave them out.")
    options.arguments = rest or []
    command: Command = options.execute
    return command(options)


class _Version(argparse.Action):
    """`--version`: reads the version of the installed package only when the option is given."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from flow_xray._data.version import package_version

        print_output(f"flow-xray {package_version()}")
        parser.exit()


def _parser() -> Parser:
    parser = Parser(prog="flow-xray", description="Show what a program did, in one offline HTML file.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for module in _COMMANDS:
        module.register(commands)
    return parser


def _split(given: list[str]) -> tuple[list[str], list[str] | None]:
    """Split at `--`, after which everything belongs to the script."""
    if "--" not in given:
        return given, None
    at = given.index("--")
    return given[:at], given[at + 1 :]


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _discard_stdout() -> None:
    """Discard the rest of the buffer, else the interpreter prints an error when it exits."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
