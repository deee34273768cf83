"""A run against its source: what ran, what could have run, and the branches that were not taken.

A span belongs to the function that stands where `Span.code` says. When the trace comes from another folder or machine,
the file with the longest common end is taken; when the source has changed since, the function of the same name in it.

An edge is *executed* when the source can explain a recorded call (directly, or through functions that are not traced),
*runtime* when it cannot (a registry, `getattr`, a callback from a library), and *possible* when only the source has it.

A branch is judged only in functions that left a span. With line facts (`trace.capture(lines=True)`) every branch is;
without them only a branch whose first statement calls a traced function that nothing else in its function calls: it was
taken when that call is in the trace. Nothing is said of the others.
"""

import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final, Literal

from flow_xray._lines import lines_in
from flow_xray._model import Json
from flow_xray._redact import Redactor
from flow_xray._result import TraceResult
from flow_xray._source_index import Branch, Function, SourceIndex
from flow_xray._tree import SpanTree

_HOPS: Final = 3  # how far what did not run is shown around what did
_MOST_NODES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Node:
    """A function; `id` is "file:line" as the spans have it, `traced` says whether it would be recorded."""

    id: str
    name: str
    file: str
    line: int
    executed: bool
    traced: bool

    @property
    def place(self) -> str:
        """Where it stands now: "file:line"."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Edge:
    """One function may call, or called, another."""

    source: str
    target: str
    how: Literal["executed", "possible", "runtime"]

    def as_json(self) -> dict[str, Json]:
        """Return it with the names that the page knows."""
        return {"from": self.source, "to": self.target, "how": self.how}


@dataclass(frozen=True, slots=True)
class BranchFact:
    """One way through a function that ran, and whether the run took it; `how` names the facts that say so."""

    function: str
    file: str
    line: int
    text: str
    taken: bool
    how: Literal["lines", "calls"]


class Context:
    """What the source says about a trace.

    Args:
        trace: a trace whose spans know their code.
        index: the functions of its source.
    """

    __slots__ = ("_below", "_passed", "_ran", "_tree", "branches", "edges", "executed", "index", "notes")

    def __init__(self, trace: TraceResult, index: SourceIndex) -> None:
        self.index = index
        self.notes = list(index.notes)
        self._tree = SpanTree(trace)
        self._below: dict[str, list[str]] = {each.id: each.calls for each in index.functions.values()}
        self._ran = self._matched()
        self.executed: dict[str, str] = {}  # id in the index -> code as recorded
        for span in self._tree:
            if span.code in self._ran:
                self.executed.setdefault(self._ran[span.code], span.code)
        if not self.executed:
            known = any(span.code for span in self._tree)
            self.notes.append(
                "no span of this trace stands in this source"
                if known
                else "no span of this trace says where its function stands"
            )
        self.edges = self._edges()
        self._passed = {self._of_node(end) for e in self.edges if e.how != "possible" for end in (e.source, e.target)}
        self.branches = self._branches()
        if any(_line_of(code) != index.functions[each].line for each, code in self.executed.items()):
            self.notes.append(
                "the source has changed since this trace was recorded; functions were found by their names"
            )

    def nodes(self) -> list[Node]:
        """Return what ran, and what stands at most 3 calls away from it; at most 2,000 functions."""
        kept: dict[str, None] = dict.fromkeys([*self.executed, *sorted(self._passed)])
        callers = self.index.callers()
        around = deque((each, 0) for each in kept)
        while around and len(kept) < _MOST_NODES:
            each, hops = around.popleft()
            near = [*self._below.get(each, []), *(callers.get(each, []) if hops == 0 else [])]
            for other in near if hops < _HOPS else ():
                if other not in kept and len(kept) < _MOST_NODES:
                    kept[other] = None
                    around.append((other, hops + 1))
        return [self._node(each) for each in kept]

    def as_json(self) -> dict[str, Json]:
        """Return the context as the page takes it: nodes, edges, branches, notes."""
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
        """Return the functions with this name (or the end of it), or at this `file:line`; those that ran come first."""
        found = [
            each
            for each in self.index.functions.values()
            if each.name == name or each.name.endswith(f".{name}") or each.id == name or each.id.endswith(f"/{name}")
        ]
        return sorted(found, key=lambda each: (each.id not in self.executed, each.name != name, each.id))

    def reach(self, start: str, *, back: bool = False) -> dict[str, int]:
        """Return what a function may call, directly or not, or (`back`) what may call it, with the number of calls."""
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
        """Return what a function calls (`back`: what calls it) with how that is known, the executed ones first."""
        return [
            (edge.how, self._node(self._of_node(edge.source if back else edge.target)))
            for edge in self.edges
            if self._of_node(edge.target if back else edge.source) == function
        ]

    def node_of(self, function: str) -> Node:
        """Return the node of a function of the index."""
        return self._node(function)

    # ------------------------------------------------------------------ matching

    def _matched(self) -> dict[str, str]:
        """Return the function of the index behind each code that the spans name."""
        by_base: dict[str, set[str]] = {}
        by_file: dict[str, list[Function]] = {}
        for each in self.index.functions.values():
            by_base.setdefault(os.path.basename(each.file), set()).add(each.file)  # noqa: PTH119  pathlib costs 9 ms
            by_file.setdefault(each.file, []).append(each)
        found: dict[str, str] = {}
        for span in self._tree:
            if not span.code or span.code in found:
                continue
            recorded, _, line = span.code.rpartition(":")
            name = recorded.replace("\\", "/").rpartition("/")[2]
            file = _nearest(recorded, by_base.get(name, ()))
            if file is None:
                continue
            function = self.index.functions.get(f"{file}:{line}")
            last = span.name.rpartition(".")[2]
            if function is None or (function.name.rpartition(".")[2] != last and _is_in(last, by_file[file])):
                named = [each for each in by_file[file] if each.name.rpartition(".")[2] == last]
                function = named[0] if len(named) == 1 else function
            if function is not None:
                found[span.code] = function.id
        return found

    def _node(self, function: str) -> Node:
        each = self.index.functions[function]
        is_recorded = function in self.executed
        is_executed = is_recorded or function in self._passed
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
            path = self._way(caller, callee)
            if path is None:
                runtime.add((caller, callee))
            else:
                executed.update(pairwise(path))
        possible = {(each.id, callee) for each in self.index.functions.values() for callee in each.calls}
        edges = [Edge(self._id(a), self._id(b), "executed") for a, b in sorted(executed)]
        edges += [Edge(self._id(a), self._id(b), "runtime") for a, b in sorted(runtime)]
        return edges + [Edge(self._id(a), self._id(b), "possible") for a, b in sorted(possible - executed)]

    def _called(self) -> list[tuple[str, str]]:
        """Return the pairs of functions of which one was recorded inside the other, nothing of the source between."""
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

    def _way(self, caller: str, callee: str) -> list[str] | None:
        """Return the shortest way between two functions through functions that would leave no span."""
        came_from: dict[str, str] = {}
        waiting = deque([caller])
        while waiting:
            each = waiting.popleft()
            for other in self._below.get(each, []):
                if other == callee:
                    way = [callee, each]
                    while way[-1] != caller:
                        way.append(came_from[way[-1]])
                    return way[::-1]
                is_silent = other not in self.executed and not self.index.functions[other].is_traced
                if is_silent and other not in came_from:
                    came_from[other] = each
                    waiting.append(other)
        return None

    # ------------------------------------------------------------------ branches

    def _branches(self) -> list[BranchFact]:
        facts = self._tree.trace.meta.get("lines")
        lines = (
            {file: lines_in(text) for file, text in facts.items() if isinstance(text, str)}
            if isinstance(facts, dict)
            else {}
        )
        called = set(self._called())
        redact = Redactor().text
        found: list[BranchFact] = []
        for function, code in self.executed.items():
            each = self.index.functions[function]
            ran = lines.get(code.rpartition(":")[0])
            shift = _line_of(code) - each.line
            for branch in each.branches:
                taken = _by_lines(branch, ran, shift) if ran is not None else None
                how: Literal["lines", "calls"] = "lines"
                if taken is None:
                    taken, how = self._by_calls(each, branch, called), "calls"
                if taken is not None:
                    found.append(
                        BranchFact(self._id(function), each.file, branch.line, redact(branch.text), taken, how)
                    )
        return sorted(found, key=lambda fact: (fact.file, fact.line))

    def _by_calls(self, function: Function, branch: Branch, called: set[tuple[str, str]]) -> bool | None:
        """Say what the calls in a branch say, or None when they say nothing."""
        elsewhere = [call for other in function.branches if other is not branch for call in other.calls]
        for callee in branch.calls:
            is_recorded = callee in self.executed or self.index.functions[callee].is_traced
            if is_recorded and callee not in elsewhere and function.calls_of(callee) == 1:
                return (function.id, callee) in called
        return None


def context_of(trace: TraceResult, sources: Iterable[str]) -> Context:
    """Index the source under some roots and join it with a trace.

    Args:
        trace: a trace whose spans know their code, as recorded ones do.
        sources: files or folders.
    """
    return Context(trace, SourceIndex(list(sources)))


def _by_lines(branch: Branch, ran: set[int], shift: int) -> bool | None:
    """Say whether a line of a block ran; a block on the line of its own `if` cannot be told apart."""
    first, last = branch.lines
    if first == branch.line:
        return None
    return any(line + shift in ran for line in range(first, last + 1))


def _nearest(recorded: str, files: Iterable[str]) -> str | None:
    """Return the file whose path has the longest common end with the recorded one; none when two are as near."""
    wanted = recorded.replace("\\", "/").split("/")[::-1]

    def common(file: str) -> int:
        parts = file.replace("\\", "/").split("/")[::-1]
        return next((n for n, (one, other) in enumerate(zip(parts, wanted, strict=False)) if one != other), len(wanted))

    ranked = sorted(((common(file), file) for file in files), reverse=True)
    if not ranked or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return None
    return ranked[0][1]


def _line_of(code: str) -> int:
    line = code.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0


def _is_in(name: str, functions: Sequence[Function]) -> bool:
    return any(each.name.rpartition(".")[2] == name for each in functions)
