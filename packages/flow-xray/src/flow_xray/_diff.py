"""What changed between two runs: calls that came, went, moved or behaved differently, and the totals."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from flow_xray._align import Pair, align
from flow_xray._model import Json, Span
from flow_xray._normal import normal
from flow_xray._page import in_tree_order
from flow_xray._result import TraceResult, write_whole
from flow_xray._summary import human_cost

if TYPE_CHECKING:
    import os

_VOLATILE_META: Final = frozenset(
    {*("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")}
    | {*("cost_usd", "run_id", "first_item_ms", "pid")}
)
_SHOWN: Final = 160
_MOST_FACTS: Final = 8
_MARKS: Final = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: what happened to the call at `path`, and each fact that is not the same."""

    what: Literal["added", "removed", "changed", "moved"]
    path: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of one run; tokens and cost of a call that contains counted calls are not counted again."""

    calls: int
    errors: int
    tokens: int
    cost_usd: float
    duration_ms: float


@dataclass(frozen=True, slots=True)
class TraceDiff:
    """The difference of two traces; true when there is one."""

    before_name: str
    after_name: str
    changes: tuple[Change, ...]
    before: Totals
    after: Totals
    ignore: frozenset[str] = field(default=frozenset(), repr=False)
    traces: tuple[TraceResult, TraceResult] | None = field(default=None, repr=False, compare=False)

    def __bool__(self) -> bool:
        """Say whether a call changed; times and totals alone are no change."""
        return bool(self.changes)

    def to_text(self) -> str:
        """Return the difference for a person: totals, then one block for each changed call."""
        lines = [f"{self.before_name} -> {self.after_name}: {_changes_in_words(len(self.changes))}"]
        lines += [f"  {name}: {old} -> {new}" for name, old, new in self.totals()]
        for change in self.changes:
            lines.append(f"{_MARKS[change.what]} {change.what} {change.path}")
            lines += [f"    {fact}" for fact in change.facts]
        return "\n".join(_printable(line) for line in lines)

    def to_html(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return both traces as one offline page that opens with their difference; write it to `path` if one is given.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._diff_page import build_diff_page

        before, after = self.traces or (TraceResult(self.before_name), TraceResult(self.after_name))
        page = build_diff_page(
            before, after, self.ignore, lambda pair: change_of(pair, self.ignore), list(self.totals())
        )
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


def diff(before: TraceResult, after: TraceResult, ignore: Collection[str] = ()) -> TraceDiff:
    """Compare two traces; see `TraceResult.diff`."""
    before, after = before.frozen(), after.frozen()
    changes = tuple(change for pair in align(before, after, ignore) if (change := change_of(pair, ignore)))
    return TraceDiff(
        before.name, after.name, changes, totals_of(before), totals_of(after), frozenset(ignore), (before, after)
    )


def totals_of(trace: TraceResult) -> Totals:
    """Count a trace."""
    spans, parents = in_tree_order(trace.spans)
    tokens, cost = 0, 0.0
    has_tokens_below, has_cost_below = bytearray(len(spans) + 1), bytearray(len(spans) + 1)  # the last: above the roots
    for index in range(len(spans) - 1, -1, -1):
        meta = spans[index].meta
        counts = [count for key in ("input_tokens", "output_tokens") if type(count := meta.get(key)) is int]
        price = meta.get("cost_usd")
        if counts and not has_tokens_below[index]:
            tokens += sum(counts)
        if type(price) in (int, float) and not has_cost_below[index]:
            cost += float(price)  # type: ignore[arg-type]  # checked in this line
        has_tokens_below[parents[index]] |= bool(counts) | has_tokens_below[index]
        has_cost_below[parents[index]] |= (price is not None) | has_cost_below[index]
    first = min((span.started_at_ns for span in spans), default=0)
    last = max((span.started_at_ns + (span.duration_ns or 0) for span in spans), default=0)
    errors = sum(span.status == "error" and "origin" not in (span.error or {}) for span in spans)
    return Totals(len(spans), errors, tokens, cost, (last - first) / 1e6)


def change_of(pair: Pair, ignore: Collection[str]) -> Change | None:
    """Say how the two calls of a pair differ; None when they do not."""
    if pair.before is None or pair.after is None:
        return Change("added" if pair.before is None else "removed", pair.path)
    facts: list[str] = []
    old, new = _facets(pair.before), _facets(pair.after)
    for name in old:
        if name not in ignore and not _is_same(old[name], new[name]):
            _compare(name, normal(old[name], ignore), normal(new[name], ignore), facts)
    if len(facts) > _MOST_FACTS:
        facts = [*facts[:_MOST_FACTS], f"and {len(facts) - _MOST_FACTS:,} more"]
    if facts:
        return Change("changed", pair.path, tuple(facts))
    return Change("moved", pair.path) if pair.is_moved else None


def _is_same(old: Json, new: Json) -> bool:
    """Say whether two values are equal as they are, which spares looking at them closely; 1 is not true here."""
    return old is new or (old == new and json.dumps(old) == json.dumps(new))


def _facets(span: Span) -> dict[str, Json]:
    error = span.error or {}
    return {
        "status": span.status,
        "input": span.input,
        "output": span.output,
        "error": f"{error.get('type')}: {error.get('message')}" if error else None,
        "meta": {key: value for key, value in span.meta.items() if key not in _VOLATILE_META},
    }


def _compare(path: str, old: Json, new: Json, facts: list[str]) -> None:
    """Add a line for each innermost place where two values differ."""
    if json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if key not in old or key not in new:
                facts.append(f"{path}.{key}: {_shown(old[key]) if key in old else 'not there'} -> {_there(new, key)}")
            else:
                _compare(f"{path}.{key}", old[key], new[key], facts)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            _compare(f"{path}[{index}]", one, other, facts)
    else:
        facts.append(f"{path}: {_shown(old)} -> {_shown(new)}")


def _there(value: dict[str, Json], key: str) -> str:
    return _shown(value[key]) if key in value else "not there"


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 40]} … ({len(text):,} characters) … {text[-30:]}"


def _changes_in_words(count: int) -> str:
    return {0: "no change", 1: "1 change"}.get(count, f"{count:,} changes")


def _printable(line: str) -> str:
    """Keep control characters and lone surrogates of foreign text away from the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
