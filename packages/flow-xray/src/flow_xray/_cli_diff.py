"""`flow-xray diff`: what changed between two traces."""

import argparse

from flow_xray._cli import DONE, FAILED, USAGE, is_there, read_trace, say


def compare(options: argparse.Namespace) -> int:
    """Compare two traces; return 1 when they differ."""
    if not is_there(options.before, options.after):
        return USAGE
    found = read_trace(options.before).diff(read_trace(options.after), ignore=options.ignore)
    say(found.to_text())
    if options.html:
        found.to_html(options.html)
        say(f"page: {options.html}")
    return FAILED if found else DONE
