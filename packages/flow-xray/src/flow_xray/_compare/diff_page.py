"""The page of a difference: the later trace and the earlier one side by side, row by row.

`align` returns the pairs level by level. The page shows them in the order of the tree: a call of
both runs at its position in the later run, a call of only the earlier run after the sibling that it
followed. A call of one run only includes everything below it.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from flow_xray._compare.align import Pair, align
from flow_xray._compare.changes import change_of
from flow_xray._data.span import Json
from flow_xray._data.trace_data import TraceData
from flow_xray._write.page.blocks import Blocks
from flow_xray._write.page.document import build_page

if TYPE_CHECKING:
    from array import array

MARKS: Final = {"same": "=", "changed": "~", "added": "+", "removed": "-", "moved": ">"}


def build_diff_page(
    before: TraceData, after: TraceData, ignore: Collection[str], totals: list[tuple[str, str, str]]
) -> str:
    """Return the HTML text of the comparison of two frozen traces.

    Args:
        before: The earlier trace.
        after: The later one.
        ignore: Member names to leave out, as in `TraceResult.diff`.
        totals: Name, before and after of each total.
    """

    def rows(old: Blocks, new: Blocks) -> Json:
        return {
            "before": before.name,
            "after": after.name,
            "ignore": [*sorted(ignore)],
            "totals": [list(total) for total in totals],
            **_rows(align(before, after, ignore), old, new, ignore),
        }

    return build_page(after, other=before, rows=rows)


def _rows(pairs: list[Pair], old: Blocks, new: Blocks, ignore: Collection[str]) -> dict[str, Json]:
    at_old = {id(span): index for index, span in enumerate(old.spans)}
    at_new = {id(span): index for index, span in enumerate(new.spans)}
    sides = [
        (-1 if p.before is None else at_old[id(p.before)], -1 if p.after is None else at_new[id(p.after)])
        for p in pairs
    ]
    pair_of_old = {one: number for number, (one, _) in enumerate(sides) if one >= 0}
    pair_of_new = {other: number for number, (_, other) in enumerate(sides) if other >= 0}
    below: dict[int, list[int]] = {}
    for number, (one, other) in enumerate(sides):
        above = old.parents[one] if other < 0 else new.parents[other]
        below.setdefault(-1 if above < 0 else (pair_of_old if other < 0 else pair_of_new)[above], []).append(number)
    for siblings in below.values():
        siblings.sort(key=_positions(siblings, sides).__getitem__)
    ends_old, ends_new = _ends(old.parents), _ends(new.parents)
    what: list[str] = []
    one_side: list[Json] = []
    other_side: list[Json] = []
    depths: list[Json] = []
    facts: dict[str, Json] = {}
    stack = [(number, 0) for number in reversed(below.get(-1, []))]
    while stack:
        number, depth = stack.pop()
        one, other = sides[number]
        change = change_of(pairs[number], ignore)
        mark = MARKS["same" if change is None else change.what]
        if change is not None and change.facts:
            facts[str(len(what))] = list(change.facts)
        subtree = range(one, ends_old[one]) if other < 0 else range(other, ends_new[other] if one < 0 else other + 1)
        parents = old.parents if other < 0 else new.parents
        depth_of = {subtree.start: depth}
        for index in subtree:
            if index > subtree.start:
                depth_of[index] = depth_of[parents[index]] + 1
            what.append(mark)
            one_side.append(index if other < 0 else one)
            other_side.append(-1 if other < 0 else index)
            depths.append(depth_of[index])
        stack.extend((each, depth + 1) for each in reversed(below.get(number, [])))
    return {"what": "".join(what), "old": one_side, "new": other_side, "depth": depths, "facts": facts}


def _positions(siblings: list[int], sides: list[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Return a sort key for each sibling: its position in the later run.

    A removed one follows its neighbour.
    """
    positions: dict[int, tuple[int, int]] = {}
    last = -1
    for number in sorted((each for each in siblings if sides[each][0] >= 0), key=lambda each: sides[each][0]):
        one, other = sides[number]
        last = other if other >= 0 else last
        positions[number] = (last, -1) if other >= 0 else (last, one)
    for number in siblings:
        if sides[number][0] < 0:
            positions[number] = (sides[number][1], -1)
    return positions


def _ends(parents: "array[int]") -> list[int]:
    """Return, for each span, the index after its subtree."""
    ends = list(range(1, len(parents) + 1))
    for index in range(len(parents) - 1, -1, -1):
        if parents[index] >= 0:
            ends[parents[index]] = max(ends[parents[index]], ends[index])
    return ends
