"""`flow-xray stats`, `report` and `analyze`: numbers, a text for an issue, and findings of one trace."""

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from flow_xray._cli import DONE, FAILED, USAGE, complain, is_there, read_trace, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flow_xray._analyze import Finding, Rule
    from flow_xray._result import TraceResult
    from flow_xray._stats import Stats

ORDERS: Final = ("self", "total", "calls", "tokens", "cost", "errors", "name")
_FAIL_ON: Final = ("error", "warning", "info", "never")


def register(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the commands to the parser."""
    stats = commands.add_parser(
        "stats",
        help="print numbers by kind and name",
        description="Print one row for each kind and name: calls, errors, time (total; self: without the calls inside; "
        "p50 and p95 of one call), tokens, cost.",
    )
    stats.add_argument("--sort", choices=ORDERS, default="self", help="largest first (default: self)")
    stats.add_argument("--top", metavar="N", type=_positive, default=40, help="rows of the table (default: 40)")
    report = commands.add_parser(
        "report",
        help="write a report to paste into an issue",
        description="Write a Markdown report: what ran, errors, models with tokens and cost, slow calls, findings.",
    )
    report.add_argument("-o", "--out", metavar="OUT", help="where it goes (default: stdout)")
    analyze = commands.add_parser(
        "analyze",
        help="list what is likely wrong",
        description="List findings: errors, slow calls, identical calls, calls after the budget, token counts that do "
        "not add up, and what your own rules find.",
    )
    analyze.add_argument(
        "--fail-on", choices=_FAIL_ON, default="never", help="exit with 1 for findings of this or a graver severity"
    )
    for parser, does in ((stats, _stats), (report, _report), (analyze, _analyze)):
        parser.add_argument("file", metavar="FILE", nargs="+", help="whatever `flow-xray view` reads")
        parser.add_argument("--prices", metavar="FILE", help="a price file, as for `flow-xray view`")
        parser.add_argument(
            "--rule",
            metavar="FILE.py:NAME",
            action="append",
            default=[],
            help="a rule of yours: a function of a Python file (or module:name) that takes the SpanTree",
        )
        if parser is not report:
            parser.add_argument("--output", choices=("text", "json"), default="text", help="default: text")
        parser.set_defaults(does=does)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"cannot use {text!r}: because it is no number of 1 or more")
    return int(text)


def _stats(options: argparse.Namespace) -> int:
    return _with_trace(options, _print_stats)


def _report(options: argparse.Namespace) -> int:
    return _with_trace(options, _print_report)


def _analyze(options: argparse.Namespace) -> int:
    return _with_trace(options, _print_findings)


def _with_trace(
    options: argparse.Namespace,
    show: "Callable[[argparse.Namespace, TraceResult, tuple[Finding, ...]], int]",
) -> int:
    if not is_there(*options.file):
        return USAGE
    rules: list[Rule] = []
    for given in options.rule:
        rule = _loaded(given)
        if rule is None:
            return USAGE
        rules.append(rule)
    from flow_xray._analyze import analyze

    trace = read_trace(*options.file).priced(options.prices)
    return show(options, trace, analyze(trace, rules))


def _print_stats(options: argparse.Namespace, trace: "TraceResult", findings: "tuple[Finding, ...]") -> int:
    from flow_xray._stats import stats_of

    found = stats_of(trace, options.sort)
    if options.output == "json":
        whole = {
            "name": trace.name,
            "status": trace.status,
            **found.as_json(),
            "findings": [each.as_json() for each in findings],
        }
        say(json.dumps(whole))
    else:
        say("\n".join(_table(found, options.top)))
    return DONE


def _print_report(options: argparse.Namespace, trace: "TraceResult", findings: "tuple[Finding, ...]") -> int:
    from flow_xray._report import report_of
    from flow_xray._stats import stats_of

    text = report_of(trace, stats_of(trace), findings)
    if options.out is None:
        say(text.rstrip("\n"))
    else:
        from flow_xray._result import write_whole

        write_whole(options.out, text.encode("utf-8"))
        say(f"report: {options.out}")
    return DONE


def _print_findings(options: argparse.Namespace, _trace: "TraceResult", findings: "tuple[Finding, ...]") -> int:
    from flow_xray._report import printable

    if options.output == "json":
        say(json.dumps([each.as_json() for each in findings]))
    else:
        lines = [
            printable(
                f"{each.severity:8} {each.rule}: {each.message}" + (f"  [{each.span_id}]" if each.span_id else "")
            )
            for each in findings
        ]
        say("\n".join(lines) if lines else "no findings")
    grave = _FAIL_ON[: _FAIL_ON.index(options.fail_on) + 1] if options.fail_on != "never" else ()
    return FAILED if any(each.severity in grave for each in findings) else DONE


def _table(found: "Stats", top: int) -> list[str]:
    from flow_xray._report import printable
    from flow_xray._summary import human_cost, human_duration

    head = ("kind", "name", "calls", "errors", "total", "self", "p50", "p95", "tokens", "cost")
    body = [
        (
            _short(printable(row.kind), 12),
            _short(printable(row.name), 48),
            f"{row.calls:,}",
            f"{row.errors:,}" if row.errors else "",
            *(human_duration(time) for time in (row.total_ms, row.self_ms, row.p50_ms, row.p95_ms)),
            f"{tokens:,}" if (tokens := row.input_tokens + row.output_tokens) else "",
            "" if row.cost_usd is None else human_cost(row.cost_usd),
        )
        for row in found.rows[:top]
    ]
    lines = _aligned([head, *body], left=2)
    if len(found.rows) > top:
        lines.append(f"… {len(found.rows) - top:,} more rows; --top {len(found.rows)} shows them")
    if found.models:
        head_of_models = ("model", "calls", "input", "cached", "output", "cost", "unpriced")
        rows = [
            (
                _short(printable(row.model), 48),
                f"{row.calls:,}",
                f"{row.input_tokens:,}",
                f"{row.cache_read_tokens:,}",
                f"{row.output_tokens:,}",
                "" if row.cost_usd is None else human_cost(row.cost_usd),
                f"{row.unpriced:,}" if row.unpriced else "",
            )
            for row in found.models
        ]
        lines += ["", *_aligned([head_of_models, *rows], left=1)]
    totals = found.totals
    line = f"{totals.calls:,} calls, {totals.errors:,} errors, {human_duration(totals.duration_ms)}"
    if totals.tokens:
        line += f", {totals.tokens:,} tokens"
    return [*lines, "", line + (", " + human_cost(totals.cost_usd) if totals.cost_usd else "")]


def _aligned(rows: "Sequence[Sequence[str]]", left: int) -> list[str]:
    """Return rows as lines with columns under each other; columns that are empty below their head are left out."""
    kept = [index for index in range(len(rows[0])) if index < left or any(row[index] for row in rows[1:])]
    widths = {index: max(len(row[index]) for row in rows) for index in kept}
    return [
        "  ".join(
            row[index].ljust(widths[index]) if index < left else row[index].rjust(widths[index]) for index in kept
        ).rstrip()
        for row in rows
    ]


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width // 2 - 1]}…{text[-(width - width // 2) :]}"


def _loaded(given: str) -> "Rule | None":
    """Load a rule, or complain and return None."""
    place, _, name = given.rpartition(":")
    why = "it is not FILE.py:NAME or MODULE:NAME"
    if place and name:
        try:
            rule: Any = getattr(_module(place), name, None)
        except Exception as error:  # noqa: BLE001  a module of the user may raise anything while it is loaded
            why = f"{place} raised {type(error).__name__}: {error}"
        else:
            if callable(rule):
                found: Rule = rule
                return found
            why = f"{place} has no function of this name"
    complain(f"cannot use the rule {given!r}: because {why}. Give a function, like rules.py:no_shell.")
    return None


def _module(place: str) -> object:
    import importlib.util

    if not place.endswith(".py"):
        sys.path.insert(0, os.getcwd())  # noqa: PTH109  pathlib costs 9 ms
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(f"flow_xray_rules_{abs(hash(place))}", place)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module at {place}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
