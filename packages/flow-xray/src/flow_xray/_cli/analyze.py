"""`flow-xray analyze`: the findings of a trace."""

import argparse
import json
from typing import Final

from flow_xray._cli.base import DONE, FAILED, USAGE, Commands, print_json, print_output
from flow_xray._cli.rules import add_analysis_options, add_output, analyzed_trace

_FAIL_ON: Final = ("error", "warning", "info", "never")


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    analyze = commands.add_parser(
        "analyze",
        help="list likely problems",
        description="List findings: errors, slow calls, identical calls, calls after the budget was used up, token "
        "counts that do not add up, and the findings of custom rules.",
    )
    analyze.add_argument(
        "--fail-on",
        choices=_FAIL_ON,
        default="never",
        help="exit with 1 for findings of this or a higher severity",
    )
    add_analysis_options(analyze)
    add_output(analyze)
    analyze.set_defaults(execute=_analyze)


def _analyze(options: argparse.Namespace) -> int:
    analyzed = analyzed_trace(options)
    if analyzed is None:
        return USAGE
    from flow_xray.terminal import visible_line

    _, findings = analyzed
    if options.output == "json":
        print_json(json.dumps([each.as_json() for each in findings]))
    else:
        lines = [
            visible_line(
                f"{each.severity:8} {each.rule}: {each.message}" + (f"  [{each.span_id}]" if each.span_id else "")
            )
            for each in findings
        ]
        print_output("\n".join(lines) if lines else "no findings")
    failing = _FAIL_ON[: _FAIL_ON.index(options.fail_on) + 1] if options.fail_on != "never" else ()
    return FAILED if any(each.severity in failing for each in findings) else DONE
