"""`flow-xray diff`: the differences of two traces."""

import argparse

from flow_xray._cli.base import DONE, FAILED, USAGE, Commands, files_exist, print_output, read_trace


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    diff = commands.add_parser(
        "diff",
        help="show the differences of two traces",
        description="Show which calls were added, removed, moved or changed. The exit code is 1 when there are any.",
    )
    diff.add_argument("before", metavar="A", help="a journal or a trace file of the earlier run")
    diff.add_argument("after", metavar="B", help="a journal or a trace file of the later run")
    diff.add_argument("--html", metavar="OUT", help="write the difference as a page")
    diff.add_argument(
        "--ignore",
        metavar="NAME",
        action="append",
        default=[],
        help="a member to ignore, at any depth; repeatable",
    )
    diff.set_defaults(execute=_diff)


def _diff(options: argparse.Namespace) -> int:
    if not files_exist(options.before, options.after):
        return USAGE
    found = read_trace(options.before).diff(read_trace(options.after), ignore=options.ignore)
    print_output(found.to_text())
    if options.html:
        found.to_html(options.html)
        print_output(f"page: {options.html}")
    return FAILED if found else DONE
