"""Coverage of a run: what ran, what could have run, and the branches that were not taken.

An edge is *executed* when the source explains a recorded call (directly, or through functions that
are not traced), *runtime* when it does not (a registry, `getattr`, a callback from a library), and
*possible* when only the source has it.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final, Literal

from flow_xray._data.span import Json
from flow_xray._data.trace_data import TraceData
from flow_xray._data.tree import SpanTree
from flow_xray._source.branches import branch_facts
from flow_xray._source.functions import Function
from flow_xray._source.index import SourceIndex
from flow_xray._source.matching import line_of, matched

_MAX_HOPS: Final = 3  # from a function that ran to one that did not and is shown next to it
_MAX_NODES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Node:
    """A function; `id` is "file:line" as in the spans, `traced` is whether it would be recorded."""

    id: str
    name: str
    file: str
    line: int
    executed: bool
    traced: bool

    @property
    def location(self) -> str:
        """Its current location in the source: "file:line"."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Edge:
    """One function may call, or called, another."""

    source: str
    target: str
    how: Literal["executed", "possible", "runtime"]

    def as_json(self) -> dict[str, Json]:
        """Return it as the page expects it."""
        return {"from": self.source, "to": self.target, "how": self.how}


class SourceCoverage:
    """A trace joined with its source.

    Args:
        trace: A trace whose spans have a code location.
        index: The functions of its source.
    """

    __slots__ = ("_below", "_on_paths", "_ran", "_tree", "branches", "edges", "executed", "index", "notes")

    def __init__(self, trace: TraceData, index: SourceIndex) -> None:
        self.index = index
        self.notes = list(index.notes)
        self._tree = SpanTree(trace)
        self._below: dict[str, list[str]] = {each.id: each.calls for each in index.functions.values()}
        self._ran = matched(self._tree, index.functions)
        self.executed: dict[str, str] = {}  # id in the index -> code as recorded
        for span in self._tree:
            if span.code in self._ran:
                self.executed.setdefault(self._ran[span.code], span.code)
        if not self.executed:
            known = any(span.code for span in self._tree)
            self.notes.append(
                "no span of this trace is in this source"
                if known
                else "no span of this trace has the location of its function"
            )
        self.edges = self._edges()
        self._on_paths = {self._of_node(end) for e in self.edges if e.how != "possible" for end in (e.source, e.target)}
        called = set(self._called())
        lines = self._tree.trace.meta.get("lines")
        self.branches = branch_facts(index.functions, self.executed, called, lines)
        if any(line_of(code) != index.functions[each].line for each, code in self.executed.items()):
            self.notes.append(
                "the source has changed since this trace was recorded; functions were found by their names"
            )

    def nodes(self) -> list[Node]:
        """Return the functions that ran and those at most 3 calls away from them; at most 2,000."""
        shown: dict[str, None] = dict.fromkeys([*self.executed, *sorted(self._on_paths)])
        callers = self.index.callers()
        around = deque((each, 0) for each in shown)
        while around and len(shown) < _MAX_NODES:
            each, hops = around.popleft()
            near = [*self._below.get(each, []), *(callers.get(each, []) if hops == 0 else [])]
            for other in near if hops < _MAX_HOPS else ():
                if other not in shown and len(shown) < _MAX_NODES:
                    shown[other] = None
                    around.append((other, hops + 1))
        return [self._node(each) for each in shown]

    def as_json(self) -> dict[str, Json]:
        """Return it as the page expects it: nodes, edges, branches, notes."""
        nodes = self.nodes()
        shown = {node.id for node in nodes}
        whole: dict[str, Any] = {
            "nodes": [asdict(node) for node in nodes],
            "edges": [edge.as_json() for edge in self.edges if edge.source in shown and edge.target in shown],
            "branches": [asdict(branch) for branch in self.branches],
            "notes": list(self.notes),
        }
        return whole

    def find(self, name: str) -> list[Function]:
        """Return the functions with this name (or the end of it), or at this `file:line`.

        Those that ran come first.
        """
        found = [
            each
            for each in self.index.functions.values()
            if each.name == name or each.name.endswith(f".{name}") or each.id == name or each.id.endswith(f"/{name}")
        ]
        return sorted(found, key=lambda each: (each.id not in self.executed, each.name != name, each.id))

    def reach(self, start: str, *, back: bool = False) -> dict[str, int]:
        """Return what a function may call, directly or not, with the number of calls between.

        With `back`: what may call it.
        """
        near = self.index.callers() if back else self._below
        for edge in self.edges:
            if edge.how == "runtime":
                one, other = self._of_node(edge.source), self._of_node(edge.target)
                one, other = (other, one) if back else (one, other)
                near = {**near, one: [*near.get(one, []), other]}
        distance = {start: 0}
        waiting = deque([start])
        while waiting:
            each = waiting.popleft()
            for other in near.get(each, []):
                if other not in distance:
                    distance[other] = distance[each] + 1
                    waiting.append(other)
        del distance[start]
        return distance

    def near(self, function: str, *, back: bool = False) -> list[tuple[str, Node]]:
        """Return what a function calls (`back`: what calls it), executed edges first."""
        return [
            (edge.how, self._node(self._of_node(edge.source if back else edge.target)))
            for edge in self.edges
            if self._of_node(edge.target if back else edge.source) == function
        ]

    def node_of(self, function: str) -> Node:
        """Return the node of a function of the index."""
        return self._node(function)

    def _node(self, function: str) -> Node:
        each = self.index.functions[function]
        is_recorded = function in self.executed
        is_executed = is_recorded or function in self._on_paths
        return Node(self._id(function), each.name, each.file, each.line, is_executed, each.is_traced or is_recorded)

    def _id(self, function: str) -> str:
        return self.executed.get(function, function)

    def _of_node(self, node: str) -> str:
        return self._ran.get(node, node)

    # ------------------------------------------------------------------ edges

    def _edges(self) -> list[Edge]:
        executed: set[tuple[str, str]] = set()
        runtime: set[tuple[str, str]] = set()
        for caller, callee in self._called():
            path = self._path(caller, callee)
            if path is None:
                runtime.add((caller, callee))
            else:
                executed.update(pairwise(path))
        possible = {(each.id, callee) for each in self.index.functions.values() for callee in each.calls}
        edges = [Edge(self._id(a), self._id(b), "executed") for a, b in sorted(executed)]
        edges += [Edge(self._id(a), self._id(b), "runtime") for a, b in sorted(runtime)]
        return edges + [Edge(self._id(a), self._id(b), "possible") for a, b in sorted(possible - executed)]

    def _called(self) -> list[tuple[str, str]]:
        """Return the recorded calls as pairs of functions: caller and callee."""
        above: dict[str, str | None] = {}
        pairs: dict[tuple[str, str], None] = {}
        for span in self._tree:
            parent = self._tree.parent(span)
            caller = None if parent is None else self._ran.get(parent.code) or above.get(parent.id)
            above[span.id] = caller
            callee = self._ran.get(span.code)
            if caller is not None and callee is not None:
                pairs[caller, callee] = None
        return list(pairs)

    def _path(self, caller: str, callee: str) -> list[str] | None:
        """Return the shortest path between two functions through functions without a span."""
        came_from: dict[str, str] = {}
        waiting = deque([caller])
        while waiting:
            each = waiting.popleft()
            for other in self._below.get(each, []):
                if other == callee:
                    path = [callee, each]
                    while path[-1] != caller:
                        path.append(came_from[path[-1]])
                    return path[::-1]
                is_silent = other not in self.executed and not self.index.functions[other].is_traced
                if is_silent and other not in came_from:
                    came_from[other] = each
                    waiting.append(other)
        return None


def coverage_of(trace: TraceData, sources: Iterable[str]) -> SourceCoverage:
    """Index the source under some roots and join it with a trace.

    Args:
        trace: A trace whose spans have a code location, as recorded ones do.
        sources: Files or folders.
    """
    return SourceCoverage(trace, SourceIndex(list(sources)))
