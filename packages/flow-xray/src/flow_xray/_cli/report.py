"""`flow-xray report`: a Markdown report to paste into an issue."""

import argparse

from flow_xray._cli.base import DONE, USAGE, Commands, print_output
from flow_xray._cli.rules import add_analysis_options, analyzed_trace


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    report = commands.add_parser(
        "report",
        help="write a report to paste into an issue",
        description="Write a Markdown report: what ran, errors, models with tokens and cost, slow calls, findings.",
    )
    report.add_argument("-o", "--out", metavar="OUT", help="the file to write (default: stdout)")
    add_analysis_options(report)
    report.set_defaults(execute=_report)


def _report(options: argparse.Namespace) -> int:
    analyzed = analyzed_trace(options)
    if analyzed is None:
        return USAGE
    from flow_xray._analysis.report import report_of
    from flow_xray._analysis.stats import stats_of

    trace, findings = analyzed
    text = report_of(trace, stats_of(trace), findings)
    if options.out is None:
        print_output(text.rstrip("\n"))
    else:
        from flow_xray._write.whole_file import write_whole

        write_whole(options.out, text.encode("utf-8"))
        print_output(f"report: {options.out}")
    return DONE
