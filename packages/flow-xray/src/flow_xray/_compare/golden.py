"""Check a trace against a golden one, with limits for the increase of its totals.

A golden trace is a trace file for a repository: indented, span ids by position, no paths of this
machine in `code`. It is rewritten only when the check would fail, so an update changes nothing
else.
"""

import json
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from flow_xray._compare.diff import TraceDiff, diff
from flow_xray._data.order import in_tree_order
from flow_xray._data.totals import Totals
from flow_xray._data.trace_data import TraceData
from flow_xray._write.trace_file import dump
from flow_xray._write.whole_file import write_whole

if TYPE_CHECKING:
    from flow_xray._data.span import Json, Span

TOTALS: Final = ("calls", "tokens", "cost", "duration")
_FIELDS: Final = {"cost": "cost_usd", "duration": "duration_ms"}
_UNITS: Final = {"cost": "USD", "duration": "ms"}
_RUN_SPECIFIC: Final = ("journal", "lines", "pid")


@dataclass(frozen=True, slots=True)
class Allowed:
    """The allowed increase of one total: a number in its unit, or a percentage of the old value."""

    number: float
    is_percent: bool

    @staticmethod
    def of(given: str | float) -> "Allowed":
        """Parse `10%`, `500` or a number.

        Raises:
            ValueError: It is neither, or below 0.
        """
        text = str(given).strip()
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = math.nan
        if isinstance(given, bool) or not (number >= 0 and math.isfinite(number)):
            raise ValueError(
                f"cannot use {given!r} as a limit: because it is not a number of 0 or more. Write 10% or 500."
            )
        return Allowed(number, text.endswith("%"))

    def __str__(self) -> str:
        """Return it as it is given: `10%` or `500`."""
        return f"{self.number:g}{'%' if self.is_percent else ''}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a check.

    Args:
        diff: The difference of the golden trace and the new one.
        exceeded: A line for each total that grew beyond its limit, or that is unknown.
        is_passed: No limit is exceeded, and nothing changed (unless only the limits count).
    """

    diff: TraceDiff
    exceeded: tuple[str, ...]
    is_passed: bool

    def to_text(self) -> str:
        """Return the difference as text, with the exceeded limits."""
        return "\n".join([self.diff.to_text(), *self.exceeded])


def check_against(
    golden: TraceData,
    new: TraceData,
    *,
    limits: Mapping[str, Allowed] | None = None,
    ignore: Collection[str] = (),
    limits_only: bool = False,
) -> Verdict:
    """Compare a trace with its golden trace.

    Args:
        golden: The expected trace.
        new: The trace to check.
        limits: The allowed increase of each of TOTALS; one without a limit is not checked.
        ignore: As in `TraceResult.diff`.
        limits_only: Ignore changed calls.
    """
    found = diff(golden, new, ignore)
    lines = [line for name, limit in (limits or {}).items() if (line := _exceeds(found, name, limit))]
    if "cost" in (limits or {}):
        lines += [
            f"! cost of {count:,} model {'call' if count == 1 else 'calls'} of {trace.name} is unknown; give prices"
            for trace in (golden, new)
            if (count := _unpriced(trace))
        ]
    return Verdict(found, tuple(lines), not lines and (limits_only or not found))


def golden_text(trace: TraceData) -> str:
    """Return a trace as the text of a golden trace file."""
    trace = trace.frozen()
    spans, parents = in_tree_order(trace.spans)
    ids = {span.id: f"{index + 1:016x}" for index, span in enumerate(spans)}
    renumbered: list[Span] = []
    for span, parent in zip(spans, parents, strict=True):
        error = span.error
        if error is not None and "origin" in error:
            error = {**error, "origin": ids.get(str(error["origin"]), error["origin"])}
        above = f"{parent + 1:016x}" if parent >= 0 else None
        renumbered.append(replace(span, id=ids[span.id], parent_id=above, code="", error=error))
    meta: dict[str, Json] = {key: value for key, value in trace.meta.items() if key not in _RUN_SPECIFIC}
    return json.dumps(json.loads(dump(replace(trace, spans=renumbered, meta=meta))), indent=1) + "\n"


def write_golden(path: str, trace: TraceData) -> None:
    """Write a golden trace file; create its folder when it is missing.

    Raises:
        TraceOutputError: It cannot be written.
    """
    folder = os.path.dirname(path)  # noqa: PTH120  pathlib costs 9 ms at import
    if folder and not os.path.isdir(folder):  # noqa: PTH112  as above
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103  as above
    write_whole(path, golden_text(trace).encode("ascii"))


def _exceeds(found: TraceDiff, name: str, limit: Allowed) -> str | None:
    """Return a line about a total that grew beyond its limit, or None when it did not."""
    old, new = _total(found.before, name), _total(found.after, name)
    if new <= old + (old * limit.number / 100 if limit.is_percent else limit.number) + 1e-12:
        return None
    grown = f"{(new - old) / old:+.1%}" if old else f"from nothing to {new:g}"
    return f"! {name} {old:.10g} -> {new:.10g} {_UNITS.get(name, name)} ({grown}), allowed +{limit}"


def _total(totals: Totals, name: str) -> float:
    return float(getattr(totals, _FIELDS.get(name, name)))


def _unpriced(trace: TraceData) -> int:
    """Return the number of model calls with tokens and without a cost.

    Their cost is unknown, not 0.
    """
    return sum(
        span.kind == "llm" and bool(span.meta.get("input_tokens")) and span.meta.get("cost_usd") is None
        for span in trace.spans
    )
