"""A report to paste into an issue: short Markdown in which recorded text is inert.

Recorded text is untrusted. It is written in code spans and fenced blocks whose fences are longer
than any run of backticks inside, so no link, mention, image or HTML in it takes effect, and tables
stay intact.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from flow_xray._analysis.findings import Finding
from flow_xray._analysis.stats import ModelRow, Stats
from flow_xray._analysis.summary import summary_of
from flow_xray._data.detail import detail_of
from flow_xray._data.format import human_cost, human_duration
from flow_xray._data.span import Span
from flow_xray._data.trace_data import TraceData
from flow_xray._data.tree import SpanTree
from flow_xray.terminal import visible_line

_MAX_LINES: Final = 40
_MAX_LEVELS: Final = 4
_MAX_ERRORS: Final = 10
_MAX_FINDINGS: Final = 30
_MAX_ROWS: Final = 10
_MAX_CHARACTERS: Final = 60_000  # an issue may have 65,536


def report_of(trace: TraceData, stats: Stats, findings: Sequence[Finding]) -> str:
    """Return the report of a trace as Markdown."""
    tree = SpanTree(trace)
    parts = [
        *_head(tree, stats),
        *_section("What ran", _what_ran(tree)),
        *_section("Errors", _errors(tree)),
        *_section("Models", _models(stats.models)),
        *_section("Where the time went", _times(stats)),
        *_section("Findings", _findings(tree, findings)),
    ]
    text = "\n".join(parts)
    if len(text) > _MAX_CHARACTERS:
        text = _cut(text)
    return text.rstrip() + "\n"


def _cut(text: str) -> str:
    """Cut a report after a paragraph, and close the block that the cut left open."""
    shortened = text[:_MAX_CHARACTERS].rpartition("\n\n")[0]
    fence = ""
    for line in shortened.splitlines():
        if fence and line == fence:
            fence = ""
        elif not fence and line.startswith("```") and not line.strip("`"):
            fence = line
    return "\n".join([shortened, *([fence] if fence else []), "", "(cut here: an issue cannot be longer)"])


def _head(tree: SpanTree, stats: Stats) -> list[str]:
    facts = summary_of(tree.trace)
    first = min((span.started_at_ns for span in tree), default=0)
    totals = stats.totals
    line = [
        f"**{facts['status']}**",
        f"{totals.calls:,} {_plural(totals.calls, 'call')}",
        f"{totals.errors:,} {_plural(totals.errors, 'error')}",
        human_duration(totals.duration_ms),
    ]
    if totals.tokens:
        line.append(f"{totals.tokens:,} tokens")
    if totals.cost_usd:
        line.append(human_cost(totals.cost_usd))
    when = datetime.fromtimestamp(first / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if first else "at an unknown time"
    return [
        f"# {code(tree.trace.name)}",
        "",
        " · ".join(line),
        "",
        f"Started {when}; trace {code(tree.trace.trace_id)}.",
        "",
    ]


def _section(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""] if lines else []


def _what_ran(tree: SpanTree) -> list[str]:
    """Return the upper levels of the tree; equal neighbours make one line."""
    lines: list[str] = []
    stack: list[tuple[list[Span], int]] = [(tree.roots, 0)]
    while stack and len(lines) < _MAX_LINES:
        siblings, level = stack.pop()
        if not siblings:
            continue
        first, count = siblings[0], 1
        while count < len(siblings) and _is_same_call(siblings[count], first):
            count += 1
        below = tree.children(first)
        stack.append((siblings[count:], level))
        times = f" ×{count}" if count > 1 else ""
        took = (
            ""
            if first.duration_ns is None
            else f", {human_duration(sum(s.duration_ns or 0 for s in siblings[:count]) / 1e6)}"
        )
        detail = code(detail_of(first)[:80]) if count == 1 and detail_of(first) else ""
        status = "" if first.status == "ok" else f" **{first.status}**"
        lines.append(f"{'  ' * level}- {code(first.name)}{times} ({code(first.kind)}{took}){status} {detail}".rstrip())
        if below and level + 1 < _MAX_LEVELS:
            stack.append((below, level + 1))
    left = len(tree) - sum(1 for _ in lines)
    return [*lines, f"- … ({len(tree):,} calls in all)"] if left > 0 and len(lines) >= _MAX_LINES else lines


def _is_same_call(span: Span, other: Span) -> bool:
    return (span.kind, span.name, span.status) == (other.kind, other.name, other.status)


def _errors(tree: SpanTree) -> list[str]:
    failed = [span for span in tree if span.status == "error" and "origin" not in (span.error or {})]
    lines: list[str] = []
    for span in failed[:_MAX_ERRORS]:
        error = span.error or {}
        lines.append(
            f"**{code(str(error.get('type')))}** in {code(tree.path(span))}: {code(str(error.get('message', '')))}"
        )
        text = str(error.get("traceback") or "").strip()
        if text:
            lines += ["", *_fenced("\n".join(text.splitlines()[-12:]))]
        lines.append("")
    if len(failed) > _MAX_ERRORS:
        lines.append(f"… and {len(failed) - _MAX_ERRORS:,} more")
    return lines


def _models(rows: Sequence[ModelRow]) -> list[str]:
    if not rows:
        return []
    lines = ["| model | calls | input | cached | output | cost |", "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        cost = "unpriced" if row.cost_usd is None else human_cost(row.cost_usd)
        if row.unpriced and row.cost_usd is not None:
            cost += f" + {row.unpriced} unpriced"
        lines.append(
            f"| {_cell(row.model)} | {row.calls:,} | {row.input_tokens:,} | {row.cache_read_tokens:,} "
            f"| {row.output_tokens:,} | {cost} |"
        )
    return lines


def _times(stats: Stats) -> list[str]:
    rows = [row for row in stats.rows if row.self_ms > 0][:_MAX_ROWS]
    if not rows:
        return []
    lines = ["| call | kind | calls | self | total | p95 |", "|---|---|--:|--:|--:|--:|"]
    lines += [
        f"| {_cell(row.name)} | {_cell(row.kind)} | {row.calls:,} | {human_duration(row.self_ms)} "
        f"| {human_duration(row.total_ms)} | {human_duration(row.p95_ms)} |"
        for row in rows
    ]
    return lines


def _findings(tree: SpanTree, findings: Sequence[Finding]) -> list[str]:
    spans = {span.id: span for span in tree}
    lines = []
    for each in findings[:_MAX_FINDINGS]:
        span = spans.get(each.span_id or "")
        where = f" in {code(tree.path(span))}" if span is not None else ""
        lines.append(f"- **{each.severity}** {code(each.rule)}: {code(each.message)}{where}")
    if len(findings) > _MAX_FINDINGS:
        lines.append(f"- … and {len(findings) - _MAX_FINDINGS:,} more")
    return lines


def code(text: str) -> str:
    """Return a text as one code span of Markdown, on one line and at most 300 characters long."""
    line = visible_line(" ".join(text.split()))
    line = line if len(line) <= 300 else line[:299] + "…"
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    pad = " " if line[:1] == "`" or line[-1:] == "`" or not line else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _cell(text: str) -> str:
    return code(text).replace("|", "\\|")


def _fenced(text: str) -> Iterator[str]:
    fence = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    yield fence
    for line in text.splitlines():
        yield visible_line(line)
    yield fence


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
