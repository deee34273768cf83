"""The command `loom-tailcalls`: check tail calls without running the code.

Exit codes: 0 everything is accepted, 1 something is refused or is not Python text, 2 wrong usage (a
missing path or function included).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loom._errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom._lint import Checked, Problem

OK, REFUSED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except UnreadableError as error:
        print(f"loom-tailcalls: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:  # the reader of our output has ended
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


class _Version(argparse.Action):
    """Print the version; no other command has to load the package's metadata."""

    def __call__(self, parser: argparse.ArgumentParser, *_arguments: object) -> None:
        from loom import __version__

        print(f"loom-tailcalls {__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loom-tailcalls", description="Check tail calls without running the code.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="check every function decorated with @tailrec or @tailstream")
    check.add_argument("paths", nargs="+", metavar="PATH", help="a Python file or a folder")
    check.add_argument("--format", choices=("text", "json", "github"), default="text", help="default: text")
    check.set_defaults(run=_check)
    explain = commands.add_parser("explain", help="explain what one function is compiled to")
    explain.add_argument("target", metavar="FILE:FUNCTION", help="for example agent.py:Client.run")
    explain.add_argument("--source", action="store_true", help="show the rewritten function as Python text")
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(run=_explain)
    return parser


def _check(arguments: argparse.Namespace) -> int:
    from loom._lint import check_file, python_files

    checked: list[Checked] = []
    unreadable = False
    for path in python_files(arguments.paths):
        try:
            checked += check_file(path)
        except UnreadableError as error:
            print(f"loom-tailcalls: {error}", file=sys.stderr)
            unreadable = True
    problems = [problem for found in checked for problem in found.problems()]
    if arguments.format == "json":
        print(json.dumps({"functions": [found.facts(with_source=False) for found in checked]}, indent=2))
    else:
        write = _github_line if arguments.format == "github" else _text_line
        for problem in problems:
            print(write(problem))
        refused = sum(bool(found.analysis.refusals) for found in checked)
        warned = sum(problem.level == "warning" for problem in problems)
        if arguments.format == "text":
            print(f"{_counted(len(checked), 'function')} checked, {refused} refused, {_counted(warned, 'warning')}")
    return REFUSED if unreadable or any(found.analysis.refusals for found in checked) else OK


def _explain(arguments: argparse.Namespace) -> int:
    from loom._explain import as_text
    from loom._lint import check_function

    file, _, name = arguments.target.rpartition(":")
    if not file or not name:
        message = f"cannot explain {arguments.target!r}: because it has no function name. Write FILE:FUNCTION."
        raise UnreadableError(message)
    checked: list[Checked] = check_function(Path(file), name)
    facts = [found.facts(with_source=True) for found in checked]
    if arguments.json:
        print(json.dumps(facts[0] if len(facts) == 1 else facts, indent=2))
    else:
        for one in facts:
            print(as_text(one))
            if arguments.source and one["source"] is not None:
                print("\n" + one["source"])
    return OK if all(one["accepted"] for one in facts) else REFUSED


def _text_line(problem: Problem) -> str:
    place = f"{problem.file}:{problem.line}:{problem.column}"
    return f"{place}: {problem.level} {problem.code} in {problem.function!r}: {problem.message}\n    fix: {problem.fix}"


def _github_line(problem: Problem) -> str:
    place = f"file={_property(problem.file)},line={problem.line},col={problem.column},title={_property(problem.code)}"
    return f"::{problem.level} {place}::{_escaped(f'{problem.function}: {problem.message}. {problem.fix}')}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
