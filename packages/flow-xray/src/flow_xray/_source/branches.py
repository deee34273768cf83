"""Determine which branches of the functions that ran were taken.

With recorded lines (`trace.capture(lines=True)`) every branch is decided. Without them, only a
branch whose first statement calls a traced function that nothing else in its function calls: it was
taken when that call is in the trace. The other branches stay undecided.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from flow_xray._data.line_ranges import lines_in
from flow_xray._data.span import Json
from flow_xray._redaction.redactor import Redactor
from flow_xray._source.functions import Branch, Function
from flow_xray._source.matching import line_of


@dataclass(frozen=True, slots=True)
class BranchFact:
    """One branch of a function that ran, and whether the run took it; `how` names the evidence."""

    function: str
    file: str
    line: int
    text: str
    taken: bool
    how: Literal["lines", "calls"]


def branch_facts(
    functions: Mapping[str, Function],
    executed: Mapping[str, str],
    called: Collection[tuple[str, str]],
    lines: Json,
) -> list[BranchFact]:
    """Return the branches that could be decided, in the order of the source.

    Args:
        functions: The functions of the index, by id.
        executed: Id of each function that ran -> its code location as recorded.
        called: Pairs of functions of which one was recorded inside the other.
        lines: The recorded lines of each file as text (`TraceData.meta["lines"]`), or None.
    """
    ran_by_file = (
        {file: lines_in(text) for file, text in lines.items() if isinstance(text, str)}
        if isinstance(lines, dict)
        else {}
    )
    redact = Redactor().text
    found: list[BranchFact] = []
    for function_id, code in executed.items():
        function = functions[function_id]
        ran = ran_by_file.get(code.rpartition(":")[0])
        shift = line_of(code) - function.line
        for branch in function.branches:
            taken = _by_lines(branch, ran, shift) if ran is not None else None
            how: Literal["lines", "calls"] = "lines"
            if taken is None:
                taken, how = _by_calls(functions, executed, function, branch, called), "calls"
            if taken is not None:
                found.append(BranchFact(code, function.file, branch.line, redact(branch.text), taken, how))
    return sorted(found, key=lambda fact: (fact.file, fact.line))


def _by_lines(branch: Branch, ran: set[int], shift: int) -> bool | None:
    """Return whether a line of the block ran; None for a block on the line of its own `if`."""
    first, last = branch.lines
    if first == branch.line:
        return None
    return any(line + shift in ran for line in range(first, last + 1))


def _by_calls(
    functions: Mapping[str, Function],
    executed: Collection[str],
    function: Function,
    branch: Branch,
    called: Collection[tuple[str, str]],
) -> bool | None:
    """Return whether the calls in a branch prove that it was taken or not, or None."""
    elsewhere = [call for other in function.branches if other is not branch for call in other.calls]
    for callee in branch.calls:
        is_recorded = callee in executed or functions[callee].is_traced
        if is_recorded and callee not in elsewhere and function.calls_of(callee) == 1:
            return (function.id, callee) in called
    return None
