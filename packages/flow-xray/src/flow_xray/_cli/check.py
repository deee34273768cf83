"""`flow-xray check`: compare a trace with a golden one in a build.

Exit codes: 0 nothing changed, 1 a call changed or a limit is exceeded, 2 the comparison was not
possible (a file is missing or is not a trace, a limit is invalid), so that a build never takes a
broken golden trace for a pass or for a change.
"""

import argparse
import os
from typing import Final

from flow_xray._cli.base import (
    DONE,
    FAILED,
    USAGE,
    Commands,
    files_exist,
    print_output,
    read_trace,
    refuse_to_replace,
    usage_error,
)
from flow_xray._errors import TraceFormatError

TOTALS: Final = ("calls", "tokens", "cost", "duration")


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    check = commands.add_parser(
        "check",
        help="fail when a new trace differs from a golden one",
        description="Compare NEW with GOLDEN. When a call changed or a limit is exceeded, write a page next to NEW and "
        "exit with 1; exit with 2 when one of them cannot be read. LIMIT is a percentage (10%) or a number (500; cost "
        "in USD, duration in ms).",
    )
    check.add_argument("golden", metavar="GOLDEN", help="the golden trace (written with --update)")
    check.add_argument("new", metavar="NEW", help="a journal or a trace file of the run to check")
    for name in TOTALS:
        check.add_argument(f"--max-{name}-increase", metavar="LIMIT", help=f"the allowed increase of {name}")
    check.add_argument("--limits-only", action="store_true", help="ignore changed calls; check only the limits")
    check.add_argument(
        "--ignore",
        metavar="NAME",
        action="append",
        default=[],
        help="a member to ignore, at any depth; repeatable",
    )
    check.add_argument("--prices", metavar="FILE", help="a price file, as for `flow-xray view`")
    check.add_argument(
        "--html", metavar="OUT", help="the page to write (default: next to NEW, with the ending .diff.html)"
    )
    check.add_argument("--update", action="store_true", help="make NEW the golden trace, unless it passes")
    check.set_defaults(execute=_check)


def _check(options: argparse.Namespace) -> int:
    from flow_xray._compare.golden import Allowed, check_against, write_golden

    limits: dict[str, Allowed] = {}
    for name in TOTALS:
        given = getattr(options, f"max_{name}_increase")
        if given is not None:
            try:
                limits[name] = Allowed.of(given)
            except ValueError as error:
                return usage_error(f"--max-{name}-increase: {error}")
    is_first = not os.path.exists(options.golden)  # noqa: PTH110  pathlib costs 9 ms
    if is_first and not options.update:
        return usage_error(
            f"cannot read {options.golden!r}: because there is no such file. Write it from NEW: add --update."
        )
    if not files_exist(options.new):
        return USAGE
    try:
        new = read_trace(options.new).priced(options.prices)
        if is_first:
            write_golden(options.golden, new)
            calls = f"{len(new.spans):,} {'call' if len(new.spans) == 1 else 'calls'}"
            print_output(f"golden: {options.golden} (new, {calls})")
            return DONE
        golden = read_trace(options.golden).priced(options.prices)
    except TraceFormatError as error:
        return usage_error(str(error))
    verdict = check_against(golden, new, limits=limits, ignore=options.ignore, limits_only=options.limits_only)
    print_output(verdict.to_text())
    if options.update:
        if not verdict.is_passed:
            write_golden(options.golden, new)
        print_output(f"golden: {options.golden} ({'unchanged' if verdict.is_passed else 'updated'})")
        return DONE
    if options.html or not verdict.is_passed:
        page = options.html or os.path.splitext(options.new)[0] + ".diff.html"  # noqa: PTH122  as above
        if not options.html:
            refuse_to_replace(page)
        verdict.diff.to_html(page)
        print_output(f"page: {page}")
    return DONE if verdict.is_passed else FAILED
