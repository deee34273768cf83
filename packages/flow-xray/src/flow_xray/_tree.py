"""The spans of a trace as a tree, with the times that follow from it; every walk is a loop, so any depth works."""

from collections.abc import Iterator, Mapping, Sequence

from flow_xray._model import Json, Span
from flow_xray._page import in_tree_order
from flow_xray._result import TraceResult


class SpanTree:
    """The calls of a trace: `for span in tree`, parents before children, siblings by start.

    Args:
        trace: the trace; hand-made spans are frozen first.
    """

    __slots__ = ("_below", "_index", "_parents", "spans", "trace")

    def __init__(self, trace: TraceResult) -> None:
        self.trace = trace.frozen()
        self.spans, self._parents = in_tree_order(self.trace.spans)
        self._index = {span.id: index for index, span in enumerate(self.spans)}
        self._below: list[list[int]] = [[] for _ in range(len(self.spans) + 1)]  # the last: the roots
        for index, parent in enumerate(self._parents):
            self._below[parent].append(index)

    def __iter__(self) -> Iterator[Span]:
        """Walk all spans, parents first."""
        return iter(self.spans)

    def __len__(self) -> int:
        """Return the number of spans."""
        return len(self.spans)

    @property
    def roots(self) -> list[Span]:
        """The spans that no span called."""
        return [self.spans[index] for index in self._below[-1]]

    def parent(self, span: Span) -> Span | None:
        """Return the call that this one was made in."""
        parent = self._parents[self._index[span.id]]
        return self.spans[parent] if parent >= 0 else None

    def children(self, span: Span) -> list[Span]:
        """Return the calls made directly in this one."""
        return [self.spans[index] for index in self._below[self._index[span.id]]]

    def path(self, span: Span) -> str:
        """Return the names from the root to a span; the middle of a long path is left out."""
        names: list[str] = []
        index = self._index[span.id]
        while index >= 0:
            names.append(self.spans[index].name)
            index = self._parents[index]
        names.reverse()
        return " > ".join(names if len(names) <= 8 else [*names[:3], "…", *names[-4:]])

    def self_times_ns(self) -> list[int]:
        """Return, for each span in order, the time in which none of its children ran; children may overlap."""
        spans = self.spans
        return [
            max(0, (span.duration_ns or 0) - _covered(span, [spans[each] for each in self._below[index]]))
            for index, span in enumerate(spans)
        ]

    def is_inside_its_like(self) -> list[bool]:
        """Say, for each span, whether a call of the same kind and name is above it."""
        inside: list[bool] = []
        path: list[int] = []
        above: dict[tuple[str, str], int] = {}
        for index, span in enumerate(self.spans):
            while path and path[-1] != self._parents[index]:
                left = self.spans[path.pop()]
                above[left.kind, left.name] -= 1
            key = (span.kind, span.name)
            inside.append(above.get(key, 0) > 0)
            above[key] = above.get(key, 0) + 1
            path.append(index)
        return inside


def counted_tokens(span: Span) -> int | None:
    """Return the tokens that a span counts as its own, or None when it counts none."""
    return _tokens_in(span.meta)


def reported_tokens(span: Span) -> int | None:
    """Return the tokens that an imported span says were used in the calls inside it, or None."""
    reported = span.meta.get("reported_usage")
    return _tokens_in(reported) if isinstance(reported, dict) else None


def _tokens_in(usage: Mapping[str, Json]) -> int | None:
    counts = [count for key in ("input_tokens", "output_tokens") if type(count := usage.get(key)) is int]
    return sum(counts) if counts else None


def cost_of(span: Span) -> float | None:
    """Return the cost that a span reports, in USD, or None."""
    cost = span.meta.get("cost_usd")
    return float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else None


def _covered(span: Span, children: Sequence[Span]) -> int:
    """Return how much of a span's time its children, sorted by start, cover together."""
    end = span.started_at_ns + (span.duration_ns or 0)
    covered, until = 0, span.started_at_ns
    for child in children:
        start = max(child.started_at_ns, until)
        stop = min(child.started_at_ns + (child.duration_ns or 0), end)
        if stop > start:
            covered += stop - start
            until = stop
    return covered
