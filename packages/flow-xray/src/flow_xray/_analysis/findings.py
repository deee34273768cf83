"""Findings: likely problems of a run, as data.

| rule | reports | severity |
|---|---|---|
| `error` | a call raised; a warning when the same call succeeded later | error, warning |
| `interrupted` | the process ended during a call | error |
| `slow` | a call took far longer than similar calls: many deviations above their median | warning |
| `repeated` | calls with the same input, and whether their output was the same | warning, info |
| `after_budget` | a model or tool call began after its budget was used up | error |
| `usage` | a call reports other token counts than were recorded inside it | warning |

A budget is set by the program: `trace.meta(budget={"tokens": 10_000, "cost_usd": 0.5, "calls":
20})` on the call that it applies to, or on the trace; or by a mark in time,
`trace.tag("budget_exceeded")`.

A custom rule is a callable that takes the `SpanTree` and returns findings or texts. A rule that
raises is reported as a finding, and the other rules still run.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final, Literal, TypeAlias

from flow_xray._data.span import Json, Span
from flow_xray._data.totals import cost_of, counted_tokens, reported_tokens
from flow_xray._data.trace_data import TraceData
from flow_xray._data.tree import SpanTree
from flow_xray._redaction.redactor import Redactor

Severity: TypeAlias = Literal["error", "warning", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
Rule: TypeAlias = "Callable[[SpanTree], Iterable[Finding | str] | Finding | str | None]"

_MIN_CALLS: Final = 8  # of a name (else of a kind), before one of them can be slow
_MAX_DEVIATIONS: Final = 6.0
_MAD_TO_SIGMA: Final = 1.4826  # median absolute deviation to standard deviation, normal distribution
_MIN_EXCESS_NS: Final = 10_000_000
_EXTERNAL_KINDS: Final = frozenset({"llm", "tool", "retrieval", "embedding", "reranker"})
_BUDGET_MARKS: Final = frozenset({"budget_exceeded", "budget_exhausted", "limit_reached"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One likely problem.

    Args:
        rule: The name of the rule that found it.
        span_id: The call that it concerns, or None for the whole trace.
        message: One sentence.
        severity: "error", "warning" or "info".
    """

    rule: str
    span_id: str | None
    message: str
    severity: Severity = "warning"

    def as_json(self) -> dict[str, Json]:
        """Return it as a JSON object."""
        return asdict(self)


def analyze(trace: TraceData, rules: Iterable[Rule] = ()) -> tuple[Finding, ...]:
    """Apply the built-in rules and custom ones.

    Sort findings by severity, then by their order in the trace.

    Args:
        trace: Any trace.
        rules: Callables that take the `SpanTree` and return findings or texts, a single one, or
            None.
    """
    tree = SpanTree(trace)
    found: list[Finding] = []
    for rule in (*_BUILT_IN, *rules):
        name = str(getattr(rule, "__name__", type(rule).__name__)).strip("_<>")
        found += _applied(rule, name, tree)
    position = {span.id: index for index, span in enumerate(tree)}
    found.sort(key=lambda each: (SEVERITIES.index(each.severity), position.get(each.span_id or "", -1)))
    return tuple(found)


def _applied(rule: Rule, name: str, tree: SpanTree) -> list[Finding]:
    try:
        given = rule(tree)
        several: Iterable[Any] = [given] if isinstance(given, Finding | str) else given or ()
        return [_finding(each, name) for each in several]
    except Exception as error:  # noqa: BLE001  a rule of the user may raise anything
        text = Redactor().text(f"the rule raised {type(error).__name__}: {error}")
        return [Finding(name, None, text, "error")]


def _finding(given: object, name: str) -> Finding:
    if isinstance(given, str):
        given = Finding(name, None, given)
    if not isinstance(given, Finding) or given.severity not in SEVERITIES:
        raise TypeError(f"{given!r} is not a finding. Return Finding(rule, span_id, message, severity).")
    return Finding(given.rule, given.span_id, Redactor().text(str(given.message)), given.severity)


def _errors(tree: SpanTree) -> Iterator[Finding]:
    last_success: dict[str, int] = {}
    if any(span.status == "error" for span in tree):
        for span in tree:
            if span.status == "ok":
                key = _same_call(tree, span)
                last_success[key] = max(span.started_at_ns, last_success.get(key, 0))
    for span in tree:
        if span.status == "interrupted":
            yield Finding("interrupted", span.id, f"{span.name} did not end: its process ended", "error")
        if span.status != "error" or "origin" in (span.error or {}):
            continue
        what = f"{span.error.get('type')}: {span.error.get('message')}" if span.error else "an error"
        if last_success.get(_same_call(tree, span), 0) > span.started_at_ns:
            yield Finding("error", span.id, f"{span.name} raised {what}; the same call succeeded later", "warning")
        else:
            yield Finding("error", span.id, f"{span.name} raised {what}", "error")


def _same_call(tree: SpanTree, span: Span) -> str:
    parent = tree.parent(span)
    return json.dumps([parent.id if parent is not None else None, span.kind, span.name, span.input], sort_keys=True)


def _slow(tree: SpanTree) -> Iterator[Finding]:
    by_name: dict[tuple[str, str], list[Span]] = {}
    by_kind: dict[str, list[Span]] = {}
    for span in tree:
        if span.duration_ns is not None and span.status != "cancelled":
            by_name.setdefault((span.kind, span.name), []).append(span)
            by_kind.setdefault(span.kind, []).append(span)
    named = [(f"{len(group)} calls of it", group) for group in by_name.values() if len(group) >= _MIN_CALLS]
    rest = {
        kind: [span for span in group if len(by_name[kind, span.name]) < _MIN_CALLS]
        for kind, group in by_kind.items()
        if kind in _EXTERNAL_KINDS  # functions of different names are not comparable
    }
    named += [(f"{len(group)} {kind} calls", group) for kind, group in rest.items() if len(group) >= _MIN_CALLS]
    for of_what, group in named:
        times = [span.duration_ns or 0 for span in group]
        middle = median(times)
        spread = median(abs(time - middle) for time in times) * _MAD_TO_SIGMA
        most = max(middle + _MAX_DEVIATIONS * spread, 2 * middle, middle + _MIN_EXCESS_NS)
        for span, time in zip(group, times, strict=True):
            if time > most:
                usual = f"the median of {of_what} is {_ms(middle)}"
                yield Finding("slow", span.id, f"{span.name} took {_ms(time)}; {usual}", "warning")


def _repeated(tree: SpanTree) -> Iterator[Finding]:
    groups: dict[str, list[Span]] = {}
    for span in tree:
        if span.kind in _EXTERNAL_KINDS and span.status == "ok" and span.input not in (None, {}, []):
            key = json.dumps([span.kind, span.name, span.input], sort_keys=True)
            groups.setdefault(key, []).append(span)
    for group in groups.values():
        if len(group) > 1:
            first, *others = group
            is_same = all(each.output == first.output for each in others)
            outputs = "the output was the same" if is_same else "the outputs differ"
            text = f"{first.name} was called {len(group)} times with the same input; {outputs}"
            yield Finding("repeated", others[0].id, text, "warning" if is_same else "info")


def _after_budget(tree: SpanTree) -> Iterator[Finding]:
    ends: dict[int, tuple[int, str]] = {}  # index of the span with the budget (-1: the trace) -> time, reason
    for index, span in enumerate(tree):
        _note_budget(index, span.meta, span.tags, ends, lambda index=index: _calls_in(tree, index))  # type: ignore[misc]  # bound now
    tags = tree.trace.meta.get("tags")
    _note_budget(-1, tree.trace.meta, tags if isinstance(tags, list) else [], ends, lambda: list(tree))
    for index, (at_ns, why) in ends.items():
        late = [span for span in (_calls_in(tree, index) if index >= 0 else tree) if span.started_at_ns >= at_ns]
        for span in late:
            if span.kind in _EXTERNAL_KINDS:
                yield Finding("after_budget", span.id, f"{span.name} was called after {why}", "error")


def _note_budget(
    index: int,
    meta: dict[str, Json],
    tags: Iterable[Any],
    ends: dict[int, tuple[int, str]],
    calls: Callable[[], list[Span]],
) -> None:
    """Record the time at which the budget of a span was used up, if it was."""
    for tag in tags:
        if isinstance(tag, dict) and tag.get("name") in _BUDGET_MARKS and type(at := tag.get("at_ns")) is int:
            ends.setdefault(index, (at, f"the mark {tag['name']}"))
    budget = meta.get("budget")
    if not isinstance(budget, dict):
        return
    counted = _counted(calls())
    for name, of in (("tokens", counted_tokens), ("cost_usd", cost_of), ("calls", lambda _: 1)):
        most = budget.get(name)
        if isinstance(most, bool) or not isinstance(most, int | float):
            continue
        used = 0.0
        for end, span in counted:
            used += of(span) or 0
            if used >= most:
                why = f"the budget of {most:,} {name.replace('cost_usd', 'USD')} was used up"
                if index not in ends or end < ends[index][0]:
                    ends[index] = (end, why)
                break


def _counted(calls: list[Span]) -> list[tuple[int, Span]]:
    """Return the external calls by the time they ended; open ones do not count yet."""
    ended = [
        (span.started_at_ns + span.duration_ns, span)
        for span in calls
        if span.kind in _EXTERNAL_KINDS and span.duration_ns is not None
    ]
    return sorted(ended, key=lambda pair: pair[0])


def _calls_in(tree: SpanTree, index: int) -> list[Span]:
    """Return everything below a span, which in pre-order is one slice."""
    ids = {tree.spans[index].id}
    found: list[Span] = []
    for span in tree.spans[index + 1 :]:
        parent = tree.parent(span)
        if parent is None or parent.id not in ids:
            break
        ids.add(span.id)
        found.append(span)
    return found


def _usage(tree: SpanTree) -> Iterator[Finding]:
    below: dict[str, int] = {}  # tokens of the nearest spans with counts below a span
    for span in reversed(tree.spans):
        own, recorded = counted_tokens(span), below.get(span.id)
        reported = own if own is not None else reported_tokens(span)
        if reported is not None and recorded is not None and reported != recorded:
            text = f"{span.name} reports {reported:,} tokens; the calls in it recorded {recorded:,}"
            yield Finding("usage", span.id, text, "warning")
        parent = tree.parent(span)
        total = own if own is not None else recorded
        if parent is not None and total is not None:
            below[parent.id] = below.get(parent.id, 0) + total


def _ms(nanoseconds: float) -> str:
    milliseconds = nanoseconds / 1e6
    return f"{milliseconds / 1000:,.2f} s" if milliseconds >= 1000 else f"{milliseconds:,.1f} ms"


_BUILT_IN: Final[tuple[Rule, ...]] = (_errors, _slow, _repeated, _after_budget, _usage)
