"""The spans of a trace as a tree, and times derived from it.

Every walk is a loop, so any depth works.
"""

from collections.abc import Iterator, Sequence

from flow_xray._data.order import in_tree_order
from flow_xray._data.span import Span
from flow_xray._data.trace_data import TraceData


class SpanTree:
    """The calls of a trace: `for span in tree` visits parents before children, siblings by start.

    Args:
        trace: The trace; spans that are not frozen are frozen first.
    """

    __slots__ = ("_below", "_index", "_parents", "spans", "trace")

    def __init__(self, trace: TraceData) -> None:
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
        """The spans without a caller in this trace."""
        return [self.spans[index] for index in self._below[-1]]

    def parent(self, span: Span) -> Span | None:
        """Return the span that called this one, or None for a root."""
        parent = self._parents[self._index[span.id]]
        return self.spans[parent] if parent >= 0 else None

    def children(self, span: Span) -> list[Span]:
        """Return the spans that this one called directly."""
        return [self.spans[index] for index in self._below[self._index[span.id]]]

    def path(self, span: Span) -> str:
        """Return the names from the root to a span, joined by " > ".

        The middle of a long path is left out.
        """
        names: list[str] = []
        index = self._index[span.id]
        while index >= 0:
            names.append(self.spans[index].name)
            index = self._parents[index]
        names.reverse()
        return " > ".join(names if len(names) <= 8 else [*names[:3], "…", *names[-4:]])

    def self_times_ns(self) -> list[int]:
        """Return, for each span in order, the nanoseconds in which none of its children ran."""
        spans = self.spans
        return [
            max(0, (span.duration_ns or 0) - _covered(span, [spans[each] for each in self._below[index]]))
            for index, span in enumerate(spans)
        ]

    def is_inside_same_call(self) -> list[bool]:
        """Return, for each span in order, whether a call of the same kind and name is above it."""
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


def _covered(span: Span, children: Sequence[Span]) -> int:
    """Return the time of a span that its children cover, in nanoseconds.

    They are sorted and may overlap.
    """
    end = span.started_at_ns + (span.duration_ns or 0)
    covered, until = 0, span.started_at_ns
    for child in children:
        start = max(child.started_at_ns, until)
        stop = min(child.started_at_ns + (child.duration_ns or 0), end)
        if stop > start:
            covered += stop - start
            until = stop
    return covered
