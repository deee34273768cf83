"""Statistics of a trace: one row for each kind and name, and one for each model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from flow_xray._data.span import Json, Span
from flow_xray._data.totals import Totals, cost_of, totals_of
from flow_xray._data.trace_data import TraceData
from flow_xray._data.tree import SpanTree

Order = Literal["self", "total", "calls", "tokens", "cost", "errors", "name"]
ORDERS: Final[tuple[Order, ...]] = ("self", "total", "calls", "tokens", "cost", "errors", "name")


@dataclass(frozen=True, slots=True)
class Row:
    """The calls of one kind and name together.

    `errors` counts the calls that ended with an error, also with one of a call inside (the totals
    count each error once). `total_ms` counts a call inside a call of the same kind and name once;
    `self_ms` is the time in which none of the traced calls below ran. `p50_ms` and `p95_ms` are of
    single calls that ended. `cost_usd` is None when no call has a cost.
    """

    kind: str
    name: str
    calls: int
    errors: int
    total_ms: float
    self_ms: float
    p50_ms: float
    p95_ms: float
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class ModelRow:
    """The calls of one model together. `unpriced` calls have tokens and no known cost."""

    model: str
    calls: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    cost_usd: float | None
    unpriced: int


@dataclass(frozen=True, slots=True)
class Stats:
    """The statistics of one trace."""

    totals: Totals
    rows: tuple[Row, ...]
    models: tuple[ModelRow, ...]

    def as_json(self) -> dict[str, Json]:
        """Return them as a JSON object."""
        whole: dict[str, Any] = asdict(self)
        return whole


def stats_of(trace: TraceData, order: Order = "self") -> Stats:
    """Compute the statistics of a trace.

    Args:
        trace: Any trace.
        order: What the rows are sorted by, largest first (names from a to z).
    """
    tree = SpanTree(trace)
    self_times, nested = tree.self_times_ns(), tree.is_inside_same_call()
    groups: dict[tuple[str, str], list[int]] = {}
    for index, span in enumerate(tree):
        groups.setdefault((span.kind, span.name), []).append(index)
    rows: list[Row] = []
    for (kind, name), indexes in groups.items():
        spans = [tree.spans[index] for index in indexes]
        times = sorted(span.duration_ns for span in spans if span.duration_ns is not None)
        rows.append(
            Row(
                kind=kind,
                name=name,
                calls=len(spans),
                errors=sum(span.status == "error" for span in spans),
                total_ms=sum(tree.spans[index].duration_ns or 0 for index in indexes if not nested[index]) / 1e6,
                self_ms=sum(self_times[index] for index in indexes) / 1e6,
                p50_ms=quantile(times, 0.5) / 1e6,
                p95_ms=quantile(times, 0.95) / 1e6,
                input_tokens=_sum(spans, "input_tokens"),
                output_tokens=_sum(spans, "output_tokens"),
                cost_usd=_cost(spans),
            )
        )
    rows.sort(key=lambda row: (row.name, row.kind))
    if order != "name":
        rows.sort(key=lambda row: _sort_value(row, order), reverse=True)
    return Stats(totals_of(tree.trace), tuple(rows), _models(tree))


def quantile(ordered: Sequence[int], share: float) -> float:
    """Return a quantile of sorted numbers, interpolated between neighbours.

    0 when there are none.
    """
    if not ordered:
        return 0.0
    position = (len(ordered) - 1) * share
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _sort_value(row: Row, order: Order) -> float:
    if order == "tokens":
        return row.input_tokens + row.output_tokens
    values: dict[str, float] = {
        "self": row.self_ms,
        "total": row.total_ms,
        "calls": row.calls,
        "cost": row.cost_usd or 0,
        "errors": row.errors,
    }
    return values[order]


def _models(tree: SpanTree) -> tuple[ModelRow, ...]:
    groups: dict[str, list[Span]] = {}
    for span in tree:
        if span.kind == "llm":
            model = span.meta.get("model")
            groups.setdefault(model if isinstance(model, str) else "(unknown)", []).append(span)
    rows = [
        ModelRow(
            model=model,
            calls=len(spans),
            input_tokens=_sum(spans, "input_tokens"),
            cache_read_tokens=_sum(spans, "cache_read_tokens"),
            output_tokens=_sum(spans, "output_tokens"),
            cost_usd=_cost(spans),
            unpriced=sum(cost_of(span) is None and _sum([span], "input_tokens") > 0 for span in spans),
        )
        for model, spans in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-(row.cost_usd or 0), -row.input_tokens, row.model)))


def _sum(spans: Sequence[Span], key: str) -> int:
    return sum(count for span in spans if type(count := span.meta.get(key)) is int)


def _cost(spans: Sequence[Span]) -> float | None:
    known = [cost for span in spans if (cost := cost_of(span)) is not None]
    return sum(known) if known else None
