"""The order of the tree: parents before children, siblings by start.

The order is found without recursion, so a depth of 10,000 works like one of 10. Spans whose parents
form a cycle (only files of other programs contain one) are roots.
"""

from array import array

from flow_xray._data.span import Span


def in_tree_order(spans: list[Span]) -> "tuple[list[Span], array[int]]":
    """Return the spans in pre-order, siblings by start time, and the index of each one's parent.

    The parent of a root is -1.
    """
    position = {span.id: index for index, span in enumerate(spans)}
    below: dict[int, list[int]] = {}
    for index, span in enumerate(spans):
        parent = -1 if span.parent_id is None else position.get(span.parent_id, -1)
        below.setdefault(-1 if parent == index else parent, []).append(index)
    for siblings in below.values():
        siblings.sort(key=lambda index: spans[index].started_at_ns)
    ordered: list[Span] = []
    parents = array("i")
    taken = bytearray(len(spans))
    left = iter(range(len(spans)))
    stack = [(index, -1) for index in reversed(below.get(-1, []))]
    while stack or len(ordered) < len(spans):
        if not stack:
            stack.append((next(index for index in left if not taken[index]), -1))
        index, parent = stack.pop()
        if taken[index]:
            continue
        taken[index] = 1
        here = len(ordered)
        ordered.append(spans[index])
        parents.append(parent)
        stack.extend((child, here) for child in reversed(below.get(index, [])))
    return ordered, parents
