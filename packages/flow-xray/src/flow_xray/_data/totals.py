"""Counts of a whole trace, and the tokens and cost that one span reports."""

from collections.abc import Mapping
from dataclasses import dataclass

from flow_xray._data.order import in_tree_order
from flow_xray._data.span import Json, Span
from flow_xray._data.trace_data import TraceData


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of one trace.

    Tokens and cost of a call that contains counted calls are not counted again.
    """

    calls: int
    errors: int
    tokens: int
    cost_usd: float
    duration_ms: float


def totals_of(trace: TraceData) -> Totals:
    """Count a trace."""
    spans, parents = in_tree_order(trace.spans)
    tokens, cost = 0, 0.0
    # The last element belongs to the parent of the roots, whose index is -1.
    has_tokens_below, has_cost_below = bytearray(len(spans) + 1), bytearray(len(spans) + 1)
    for index in range(len(spans) - 1, -1, -1):
        counted = counted_tokens(spans[index])
        price = spans[index].meta.get("cost_usd")
        if counted is not None and not has_tokens_below[index]:
            tokens += counted
        if type(price) in (int, float) and not has_cost_below[index]:
            cost += float(price)  # type: ignore[arg-type]  # checked in this line
        has_tokens_below[parents[index]] |= (counted is not None) | has_tokens_below[index]
        has_cost_below[parents[index]] |= (price is not None) | has_cost_below[index]
    first = min((span.started_at_ns for span in spans), default=0)
    last = max((span.started_at_ns + (span.duration_ns or 0) for span in spans), default=0)
    errors = sum(span.status == "error" and "origin" not in (span.error or {}) for span in spans)
    return Totals(len(spans), errors, tokens, cost, (last - first) / 1e6)


def counted_tokens(span: Span) -> int | None:
    """Return input and output tokens of a span together, or None when it has no counts."""
    return _tokens_in(span.meta)


def reported_tokens(span: Span) -> int | None:
    """Return the tokens that an imported span reports for the calls inside it, or None."""
    reported = span.meta.get("reported_usage")
    return _tokens_in(reported) if isinstance(reported, dict) else None


def _tokens_in(usage: Mapping[str, Json]) -> int | None:
    counts = [count for key in ("input_tokens", "output_tokens") if type(count := usage.get(key)) is int]
    return sum(counts) if counts else None


def cost_of(span: Span) -> float | None:
    """Return the cost of a span in USD, or None when it has none."""
    cost = span.meta.get("cost_usd")
    return float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else None
