"""The differences of two runs: calls added, removed, moved or changed, and the totals."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flow_xray._compare.align import align
from flow_xray._compare.changes import Change, change_of
from flow_xray._data.format import human_cost
from flow_xray._data.totals import Totals, totals_of
from flow_xray._data.trace_data import TraceData
from flow_xray._write.whole_file import write_whole
from flow_xray.terminal import visible_line

if TYPE_CHECKING:
    import os

_MARKS: Final = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}


@dataclass(frozen=True, slots=True)
class TraceDiff:
    """The difference of two traces; true when a call changed."""

    before_name: str
    after_name: str
    changes: tuple[Change, ...]
    before: Totals
    after: Totals
    ignore: frozenset[str] = field(default=frozenset(), repr=False)
    traces: tuple[TraceData, TraceData] | None = field(default=None, repr=False, compare=False)

    def __bool__(self) -> bool:
        """Return whether a call changed; times and totals alone do not count."""
        return bool(self.changes)

    def to_text(self) -> str:
        """Return the difference as text: the totals, then one block for each changed call."""
        lines = [f"{self.before_name} -> {self.after_name}: {_count(len(self.changes))}"]
        lines += [f"  {name}: {old} -> {new}" for name, old, new in self.totals()]
        for change in self.changes:
            lines.append(f"{_MARKS[change.what]} {change.what} {change.path}")
            lines += [f"    {fact}" for fact in change.facts]
        return "\n".join(visible_line(line) for line in lines)

    def to_html(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return both traces as one offline page that opens at their difference.

        Args:
            path: The file to write the page to; None for none.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._compare.diff_page import build_diff_page

        before, after = self.traces or (TraceData(self.before_name), TraceData(self.after_name))
        page = build_diff_page(before, after, self.ignore, list(self.totals()))
        if path is not None:
            write_whole(path, page.encode("utf-8"))
        return page

    def totals(self) -> Iterator[tuple[str, str, str]]:
        """Yield name, before and after of each total."""
        old, new = self.before, self.after
        yield "calls", f"{old.calls:,}", f"{new.calls:,}"
        yield "errors", f"{old.errors:,}", f"{new.errors:,}"
        yield "tokens", f"{old.tokens:,}", f"{new.tokens:,}"
        if old.cost_usd or new.cost_usd:
            yield "cost", human_cost(old.cost_usd), human_cost(new.cost_usd)
        yield "time", f"{old.duration_ms:,.1f} ms", f"{new.duration_ms:,.1f} ms"


def diff(before: TraceData, after: TraceData, ignore: Collection[str] = ()) -> TraceDiff:
    """Compare two traces; see `TraceResult.diff`."""
    before, after = before.frozen(), after.frozen()
    pairs = align(before, after, ignore)
    changes = tuple(change for pair in pairs if (change := change_of(pair, ignore)))
    totals = totals_of(before), totals_of(after)
    return TraceDiff(before.name, after.name, changes, *totals, frozenset(ignore), (before, after))


def _count(changes: int) -> str:
    return {0: "no change", 1: "1 change"}.get(changes, f"{changes:,} changes")
