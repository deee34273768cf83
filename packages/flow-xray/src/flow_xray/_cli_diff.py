"""The commands that compare: `flow-xray diff` and `flow-xray check`."""

import argparse
import math
import os
import sys

from flow_xray._cli import FAILED, LIMITS, USAGE, complain, read_trace, refuse_foreign
from flow_xray._diff import Totals, TraceDiff


def compare(options: argparse.Namespace) -> int:
    """Compare two traces; return 1 when they differ or a limit is exceeded."""
    for path in (options.before, options.after):
        if not os.path.exists(path):  # noqa: PTH110  pathlib costs 9 ms
            complain(f"cannot read {path!r}: because there is no such file. Give a .xray journal or a JSON trace.")
            return USAGE
    is_check = options.command == "check"
    limits = {
        name: limit for name in LIMITS if is_check and (limit := getattr(options, f"max_{name}_increase")) is not None
    }
    for name, limit in limits.items():
        if limit_of(limit) is None:
            complain(
                f"cannot use --max-{name}-increase {limit}: because it is no number of 0 or more. Write 10% or 500."
            )
            return USAGE
    before, after = read_trace(options.before), read_trace(options.after)
    found = before.diff(after, ignore=options.ignore)
    exceeded = [line for name, limit in limits.items() if (line := exceeds(found.before, found.after, name, limit))]
    is_changed = bool(found) and not (is_check and options.limits_only)
    sys.stdout.write("\n".join([found.to_text(), *exceeded]) + "\n")
    if options.html or (is_check and (is_changed or exceeded)):
        sys.stdout.write(f"page: {_write_page(found, options)}\n")
    sys.stdout.flush()
    return FAILED if is_changed or exceeded else 0


def limit_of(text: str) -> tuple[float, bool] | None:
    """Return a number and whether it is a percentage, or None when the text is neither."""
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        return None
    return (number, text.endswith("%")) if number >= 0 and math.isfinite(number) else None


def exceeds(before: Totals, after: Totals, name: str, limit: str) -> str | None:
    """Return the line that says how far a total grew beyond its limit, or None when it did not."""
    found = limit_of(limit)
    assert found is not None
    number, is_percent = found
    unit = {"cost": "USD", "duration": "ms"}.get(name, name)
    field = {"cost": "cost_usd", "duration": "duration_ms"}.get(name, name)
    old, new = float(getattr(before, field)), float(getattr(after, field))
    if new <= old + (old * number / 100 if is_percent else number) + 1e-12:
        return None
    grown = f"{(new - old) / old:+.1%}" if old else f"from nothing to {new:g}"
    return f"! {name} {old:g} -> {new:g} {unit} ({grown}), allowed +{limit}"


def _write_page(found: TraceDiff, options: argparse.Namespace) -> str:
    target: str = options.html or os.path.splitext(options.after)[0] + ".diff.html"  # noqa: PTH122  as above
    if not options.html:
        refuse_foreign(target)
    found.to_html(target)
    return target
