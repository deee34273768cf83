"""The gate: a run against its golden trace, and how far the totals may grow.

A golden is an ordinary trace file, written so that it can live in a repository: indented, span ids by position, no
paths of this machine in `code`. It is written anew only when the gate would not pass, so an update leaves no noise.
"""

import json
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from flow_xray._diff import Totals, TraceDiff
from flow_xray._page import in_tree_order
from flow_xray._result import TraceResult, write_whole
from flow_xray._trace_json import dump

if TYPE_CHECKING:
    from flow_xray._model import Json, Span

TOTALS: Final = ("calls", "tokens", "cost", "duration")
_FIELDS: Final = {"cost": "cost_usd", "duration": "duration_ms"}
_UNITS: Final = {"cost": "USD", "duration": "ms"}
_OF_THIS_RUN: Final = ("journal", "lines", "pid")


@dataclass(frozen=True, slots=True)
class Allowed:
    """How far one total may grow: a number in its unit, or percent of what it was."""

    number: float
    is_percent: bool

    @staticmethod
    def of(given: str | float) -> "Allowed":
        """Read `10%`, `500` or a number.

        Raises:
            ValueError: it is neither, or less than nothing.
        """
        text = str(given).strip()
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = math.nan
        if isinstance(given, bool) or not (number >= 0 and math.isfinite(number)):
            raise ValueError(
                f"cannot use {given!r} as a limit: because it is no number of 0 or more. Write 10% or 500."
            )
        return Allowed(number, text.endswith("%"))

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.number:g}{'%' if self.is_percent else ''}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of a run.

    Args:
        diff: the golden against the run.
        exceeded: a line for each total that grew too far, or that is not known.
        is_passed: nothing changed (or only limits were asked for), and no limit is exceeded.
    """

    diff: TraceDiff
    exceeded: tuple[str, ...]
    is_passed: bool

    def to_text(self) -> str:
        """Return the difference for a person, with the limits that are exceeded."""
        return "\n".join([self.diff.to_text(), *self.exceeded])


def judge(
    golden: TraceResult,
    new: TraceResult,
    *,
    limits: Mapping[str, Allowed] | None = None,
    ignore: Collection[str] = (),
    limits_only: bool = False,
) -> Verdict:
    """Compare a run with its golden.

    Args:
        golden: the trace that is right.
        new: the trace to judge.
        limits: how far each of TOTALS may grow; one that is not named may grow without end.
        ignore: as in `TraceResult.diff`.
        limits_only: let changed calls pass.
    """
    found = golden.diff(new, ignore=ignore)
    lines = [line for name, limit in (limits or {}).items() if (line := _exceeds(found, name, limit))]
    if "cost" in (limits or {}):
        lines += [
            f"! cost of {count:,} model {'call' if count == 1 else 'calls'} of {trace.name} is not known; give prices"
            for trace in (golden, new)
            if (count := _unpriced(trace))
        ]
    return Verdict(found, tuple(lines), not lines and (limits_only or not found))


def golden_text(trace: TraceResult) -> str:
    """Return a trace as the text of a golden file."""
    trace = trace.frozen()
    spans, parents = in_tree_order(trace.spans)
    ids = {span.id: f"{index + 1:016x}" for index, span in enumerate(spans)}
    kept: list[Span] = []
    for span, parent in zip(spans, parents, strict=True):
        error = span.error
        if error is not None and "origin" in error:
            error = {**error, "origin": ids.get(str(error["origin"]), error["origin"])}
        above = f"{parent + 1:016x}" if parent >= 0 else None
        kept.append(replace(span, id=ids[span.id], parent_id=above, code="", error=error))
    meta: dict[str, Json] = {key: value for key, value in trace.meta.items() if key not in _OF_THIS_RUN}
    return json.dumps(json.loads(dump(replace(trace, spans=kept, meta=meta))), indent=1) + "\n"


def write_golden(path: str, trace: TraceResult) -> None:
    """Write a golden file; its folder is made when it is missing.

    Raises:
        TraceOutputError: it cannot be written.
    """
    folder = os.path.dirname(path)  # noqa: PTH120  pathlib costs 9 ms at import
    if folder and not os.path.isdir(folder):  # noqa: PTH112  as above
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103  as above
    write_whole(path, golden_text(trace).encode("ascii"))


def _exceeds(found: TraceDiff, name: str, limit: Allowed) -> str | None:
    """Return the line that says how far a total grew beyond its limit, or None when it did not."""
    old, new = _total(found.before, name), _total(found.after, name)
    if new <= old + (old * limit.number / 100 if limit.is_percent else limit.number) + 1e-12:
        return None
    grown = f"{(new - old) / old:+.1%}" if old else f"from nothing to {new:g}"
    return f"! {name} {old:.10g} -> {new:.10g} {_UNITS.get(name, name)} ({grown}), allowed +{limit}"


def _total(totals: Totals, name: str) -> float:
    return float(getattr(totals, _FIELDS.get(name, name)))


def _unpriced(trace: TraceResult) -> int:
    """Count the model calls that used tokens and have no cost; nobody knows what they cost, and it is not nothing."""
    return sum(
        span.kind == "llm" and bool(span.meta.get("input_tokens")) and span.meta.get("cost_usd") is None
        for span in trace.spans
    )
