"""`flow-xray stats`: statistics of a trace by kind and name, and by model."""

import argparse
import json
from typing import TYPE_CHECKING, Final

from flow_xray._cli.base import DONE, USAGE, Commands, print_json, print_output
from flow_xray._cli.rules import add_analysis_options, add_output, analyzed_trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flow_xray._analysis.stats import ModelRow, Row, Stats

ORDERS: Final = ("self", "total", "calls", "tokens", "cost", "errors", "name")


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    stats = commands.add_parser(
        "stats",
        help="print statistics by kind and name",
        description="Print one row for each kind and name: calls, errors, time (total; self: without the calls inside; "
        "p50 and p95 of one call), tokens, cost.",
    )
    stats.add_argument("--sort", choices=ORDERS, default="self", help="the sort order, largest first (default: self)")
    stats.add_argument("--top", metavar="N", type=_positive, default=40, help="the number of rows (default: 40)")
    add_analysis_options(stats)
    add_output(stats)
    stats.set_defaults(execute=_stats)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"cannot use {text!r}: because it is not a number of 1 or more")
    return int(text)


def _stats(options: argparse.Namespace) -> int:
    analyzed = analyzed_trace(options)
    if analyzed is None:
        return USAGE
    from flow_xray._analysis.stats import stats_of

    trace, findings = analyzed
    found = stats_of(trace, options.sort)
    if options.output == "json":
        whole = {
            "name": trace.name,
            "status": trace.status,
            **found.as_json(),
            "findings": [each.as_json() for each in findings],
        }
        print_json(json.dumps(whole))
    else:
        print_output("\n".join(_table(found, options.top)))
    return DONE


def _table(found: "Stats", top: int) -> list[str]:
    from flow_xray._data.format import human_cost, human_duration

    head = ("kind", "name", "calls", "errors", "total", "self", "p50", "p95", "tokens", "cost")
    lines = _aligned([head, *(_cells(row) for row in found.rows[:top])], left=2)
    if len(found.rows) > top:
        lines.append(f"… {len(found.rows) - top:,} more rows; --top {len(found.rows)} shows them")
    if found.models:
        head_of_models = ("model", "calls", "input", "cached", "output", "cost", "unpriced")
        lines += ["", *_aligned([head_of_models, *(_cells_of_model(row) for row in found.models)], left=1)]
    totals = found.totals
    line = f"{totals.calls:,} calls, {totals.errors:,} errors, {human_duration(totals.duration_ms)}"
    if totals.tokens:
        line += f", {totals.tokens:,} tokens"
    return [*lines, "", line + (", " + human_cost(totals.cost_usd) if totals.cost_usd else "")]


def _cells(row: "Row") -> tuple[str, ...]:
    from flow_xray._data.format import human_cost, human_duration
    from flow_xray.terminal import visible_line

    tokens = row.input_tokens + row.output_tokens
    return (
        _short(visible_line(row.kind), 12),
        _short(visible_line(row.name), 48),
        f"{row.calls:,}",
        f"{row.errors:,}" if row.errors else "",
        *(human_duration(time) for time in (row.total_ms, row.self_ms, row.p50_ms, row.p95_ms)),
        f"{tokens:,}" if tokens else "",
        "" if row.cost_usd is None else human_cost(row.cost_usd),
    )


def _cells_of_model(row: "ModelRow") -> tuple[str, ...]:
    from flow_xray._data.format import human_cost
    from flow_xray.terminal import visible_line

    return (
        _short(visible_line(row.model), 48),
        f"{row.calls:,}",
        f"{row.input_tokens:,}",
        f"{row.cache_read_tokens:,}",
        f"{row.output_tokens:,}",
        "" if row.cost_usd is None else human_cost(row.cost_usd),
        f"{row.unpriced:,}" if row.unpriced else "",
    )


def _aligned(rows: "Sequence[Sequence[str]]", left: int) -> list[str]:
    """Return rows as lines with aligned columns.

    A column that is empty below its head is omitted.
    """
    filled = [index for index in range(len(rows[0])) if index < left or any(row[index] for row in rows[1:])]
    widths = {index: max(len(row[index]) for row in rows) for index in filled}
    return [
        "  ".join(
            row[index].ljust(widths[index]) if index < left else row[index].rjust(widths[index]) for index in filled
        ).rstrip()
        for row in rows
    ]


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width // 2 - 1]}…{text[-(width - width // 2) :]}"
