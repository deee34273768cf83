"""Match the calls of one run with those of another.

Theory of operation. The two trees are walked from their roots, level by level, without recursion.
The children of a matched pair are aligned in two passes: first those that are equal in name, kind
and (normalised) input, then, in the gaps between them, those that are equal in name and kind. So an
inserted or removed call moves nothing else. Unmatched calls of both sides with an equal input have
changed their position: they are matched, and count as moved when one came after a sibling that it
was entirely before, or vice versa. Calls that overlap in time may change their order; equal ones
among them are paired by their outputs.
"""

import json
from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from flow_xray._compare.normalize import normal
from flow_xray._data.order import in_tree_order
from flow_xray._data.span import Span
from flow_xray._data.trace_data import TraceData

_MAX_PAIRS: Final = 4_000_000  # above it two long lists are matched greedily in order
_MAX_SKIPPED: Final = 1_000  # by one greedy match
_MAX_UNEQUAL: Final = 200  # in a group of equal parallel calls


@dataclass(frozen=True, slots=True)
class Pair:
    """A call in either run, or in both; `path` is the names from the root."""

    path: str
    before: Span | None
    after: Span | None
    is_moved: bool = False


class _Tree:
    def __init__(self, trace: TraceData, ignore: Collection[str]) -> None:
        self.spans, parents = in_tree_order(trace.spans)
        self.below: dict[int, list[int]] = {}
        for index, parent in enumerate(parents):
            self.below.setdefault(parent, []).append(index)
        self._ignore = ignore
        without_input = "input" in ignore
        self.coarse: list[Hashable] = [(span.kind, span.name) for span in self.spans]
        self.fine: list[Hashable] = [
            key if without_input else (key, json.dumps(normal(span.input, ignore), sort_keys=True))
            for key, span in zip(self.coarse, self.spans, strict=True)
        ]

    def outcome(self, index: int) -> str:
        """Return status and normalised output of a call, as text."""
        span = self.spans[index]
        return json.dumps([span.status, normal(span.output, self._ignore)], sort_keys=True)

    def overlap(self, one: int, other: int) -> bool:
        """Return whether two calls overlap in time."""
        (start, end), (from_, to) = self.times(one), self.times(other)
        return start < to and from_ < end

    def times(self, index: int) -> tuple[int, int]:
        """Return start and end of a call, in nanoseconds."""
        span = self.spans[index]
        return span.started_at_ns, span.started_at_ns + (span.duration_ns or 0)


def align(before: TraceData, after: TraceData, ignore: Collection[str] = ()) -> list[Pair]:
    """Return every call of both runs, matching calls as pairs.

    Of a subtree in one run only, return its top.
    """
    old, new = _Tree(before, ignore), _Tree(after, ignore)
    pairs: list[Pair] = []
    stack = [(-1, -1, "")]
    while stack:
        above_old, above_new, above = stack.pop()
        ours, theirs = old.below.get(above_old, []), new.below.get(above_new, [])
        matched = _matched(ours, theirs, old, new)
        left = {old.fine[index]: index for index in reversed(ours) if index not in matched}
        found = dict(matched)
        taken = set(matched.values())
        displaced: list[int] = []
        for index in theirs:
            one = left.pop(new.fine[index], None) if index not in taken else None
            if one is not None:
                found[one] = index
                displaced.append(one)
                taken.add(index)
        moved = _moved(displaced, found, old, new)
        _swap_parallel(found, old, new)
        below: list[tuple[int, int, str]] = []
        for one in ours:
            span = old.spans[one]
            path = f"{above} > {span.name}" if above else span.name
            if one in found:
                other = found[one]
                pairs.append(Pair(path, span, new.spans[other], one in moved))
                below.append((one, other, _shortened(path)))
            else:
                pairs.append(Pair(path, span, None))
        for other in theirs:
            if other not in taken:
                span = new.spans[other]
                pairs.append(Pair(f"{above} > {span.name}" if above else span.name, None, span))
        stack.extend(reversed(below))
    return pairs


def _moved(displaced: Sequence[int], found: Mapping[int, int], old: _Tree, new: _Tree) -> set[int]:
    """Return the displaced calls that changed their order with a sibling that they do not overlap.

    Calls that overlap in one of the runs do not depend on each other, so their order does not
    matter.
    """
    moved: set[int] = set()
    rows = [(old.times(one), new.times(other), one) for one, other in found.items()]
    if len(displaced) * len(rows) > _MAX_PAIRS:
        return set(displaced)
    for one in displaced:
        (old_start, old_end), (new_start, new_end) = old.times(one), new.times(found[one])
        for (old_from, old_to), (new_from, new_to), sibling in rows:
            if sibling != one and (
                (old_end <= old_from and new_to <= new_start) or (old_to <= old_start and new_end <= new_from)
            ):
                moved.add(one)
                break
    return moved


def _swap_parallel(found: dict[int, int], old: _Tree, new: _Tree) -> None:
    """Pair equal calls that ran in parallel by their outcomes; their order does not matter."""
    groups: dict[Hashable, list[int]] = {}
    for one, other in found.items():
        if old.fine[one] == new.fine[other]:
            groups.setdefault(old.fine[one], []).append(one)
    for group in groups.values():
        if len(group) < 2:
            continue
        unequal = [one for one in group if old.outcome(one) != new.outcome(found[one])][:_MAX_UNEQUAL]
        for one in unequal:
            for other in unequal:
                is_better = one != other and old.outcome(one) == new.outcome(found[other])
                if is_better and (old.overlap(one, other) or new.overlap(found[one], found[other])):
                    found[one], found[other] = found[other], found[one]
                    break


def _matched(ours: Sequence[int], theirs: Sequence[int], old: _Tree, new: _Tree) -> dict[int, int]:
    """Align siblings by name, kind and input, then the gaps by name and kind."""
    out: dict[int, int] = {}
    gaps = _blocks(ours, theirs, old.fine, new.fine, out)
    for gap_ours, gap_theirs in gaps:
        fine_new = {new.fine[index] for index in gap_theirs}
        fine_old = {old.fine[index] for index in gap_ours}
        _blocks(  # without the calls that only changed their position
            [index for index in gap_ours if old.fine[index] not in fine_new],
            [index for index in gap_theirs if new.fine[index] not in fine_old],
            old.coarse,
            new.coarse,
            out,
        )
    return out


def _blocks(
    ours: Sequence[int],
    theirs: Sequence[int],
    old_keys: Sequence[Hashable],
    new_keys: Sequence[Hashable],
    out: dict[int, int],
) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Match what is equal and in the same order; return the gaps between."""
    head, most = 0, min(len(ours), len(theirs))
    while head < most and old_keys[ours[head]] == new_keys[theirs[head]]:
        out[ours[head]] = theirs[head]
        head += 1
    tail = 0
    while tail < most - head and old_keys[ours[-1 - tail]] == new_keys[theirs[-1 - tail]]:
        out[ours[-1 - tail]] = theirs[-1 - tail]
        tail += 1
    ours, theirs = ours[head : len(ours) - tail], theirs[head : len(theirs) - tail]
    old_row, new_row = [old_keys[index] for index in ours], [new_keys[index] for index in theirs]
    if len(ours) * len(theirs) <= _MAX_PAIRS:
        found = SequenceMatcher(None, old_row, new_row, autojunk=False).get_matching_blocks()
        blocks = [(block.a, block.b, block.size) for block in found]
    else:
        blocks = [*_in_order(old_row, new_row), (len(ours), len(theirs), 0)]
    gaps: list[tuple[Sequence[int], Sequence[int]]] = []
    at_ours = at_theirs = 0
    for one, other, size in blocks:
        if one > at_ours or other > at_theirs:
            gaps.append((ours[at_ours:one], theirs[at_theirs:other]))
        out.update(zip(ours[one : one + size], theirs[other : other + size], strict=True))
        at_ours, at_theirs = one + size, other + size
    return gaps


def _in_order(old_row: Sequence[Hashable], new_row: Sequence[Hashable]) -> Iterator[tuple[int, int, int]]:
    """Yield matches of two long rows: each key with its next occurrence, if it is near."""
    positions: dict[Hashable, list[int]] = {}
    for position, key in enumerate(new_row):
        positions.setdefault(key, []).append(position)
    free = 0
    for one, key in enumerate(old_row):
        of_key = positions.get(key, [])
        at = bisect_left(of_key, free)
        if at < len(of_key) and of_key[at] - free <= _MAX_SKIPPED:
            yield one, of_key[at], 1
            free = of_key[at] + 1


def _shortened(path: str) -> str:
    """Return a long path without its middle, so that a deep tree takes linear space."""
    parts = path.split(" > ")
    return path if len(parts) <= 8 else " > ".join([*parts[:3], "…", *parts[-4:]])
