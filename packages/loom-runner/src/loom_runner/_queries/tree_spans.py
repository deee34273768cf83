"""The spans of a run and its descendants; of very many children, most are folded."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from loom_runner._queries.folded_spans import DRAWN_OF_EACH, fold_of_children
from loom_runner._queries.run_trace import RunSpans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_runner._model.records import RunRecord
    from loom_runner._queries.row_spans import RowSpan
    from loom_runner._store.protocol import StoreReader

__all__ = ["run_tree_spans"]

_MAX_RUNS: Final = 1_000
"""The largest number of runs of a tree that are drawn."""
_PAGE_CHILDREN: Final = 100


def run_tree_spans(reader: StoreReader, run: RunRecord) -> Iterator[tuple[RunSpans, list[RowSpan]]]:
    """Yield the rows and the spans of a run and its descendants, parents first."""
    waiting: deque[tuple[RunRecord, RunSpans | None]] = deque([(run, None)])
    drawn = 1
    while waiting:
        record, parent = waiting.popleft()
        run_spans = RunSpans(reader, record, parent)
        spans = run_spans.spans()
        children, folded = _children(reader, record, run_spans, max(_MAX_RUNS - drawn, 0))
        drawn += len(children)
        waiting.extend((child, run_spans) for child in children)
        yield run_spans, spans if folded is None else [*spans, folded]


def _children(
    reader: StoreReader, run: RunRecord, parent: RunSpans, most: int
) -> tuple[list[RunRecord], RowSpan | None]:
    """Return the children to draw: the first, the last, and those that have not completed; and the
    span of the others.
    """
    count = DRAWN_OF_EACH
    first: list[RunRecord] = []
    others: list[RunRecord] = []
    latest: deque[RunRecord] = deque()

    def folded() -> Iterator[RunRecord]:
        after: RunRecord | None = None
        while page := reader.children(run.run_id, after=after, limit=_PAGE_CHILDREN):
            for child in page:
                if len(first) < min(count, most):
                    first.append(child)
                elif child.status != "completed" and len(others) < min(count, most - len(first)):
                    others.append(child)
                else:
                    latest.append(child)
                    if len(latest) > min(count, most - len(first) - len(others)):
                        yield latest.popleft()
            after = page[-1]

    fold = fold_of_children(run, folded(), parent.root)
    return [*first, *others, *latest], fold
