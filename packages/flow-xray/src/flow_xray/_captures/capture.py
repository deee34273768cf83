"""One capture: its index entry and the facts read from its journal; the report over several."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from flow_xray._analysis.summary import summary_of
from flow_xray._data.span import Json, Status
from flow_xray._data.trace_data import TraceData
from flow_xray._data.unpack import nanoseconds
from flow_xray._read.liveness import is_alive

_FACTS: Final = (
    "spans",
    "model_calls",
    "errors",
    "tokens",
    "cost_usd",
    "unpriced_calls",
    "duration_ms",
)

PROCESS_ID: Final = os.urandom(6).hex()
"""Random for each process; unlike a pid it is not reused."""


@dataclass(frozen=True, slots=True)
class Capture:
    """The index entry of one capture.

    Args:
        id: The name of its file without the extension; ids sort by time.
        name: The title of the trace.
        started_at: UTC, ISO 8601 with microseconds.
        status: The status of the trace; "open" while its process records, "interrupted" when that
            process has ended without closing it.
        path: Its journal, for `read_journal` and `flow-xray view`.
        duration_ms: None while it is open.
        size_bytes: The size of the journal when the capture ended.
        spans, model_calls, errors, tokens: Counts of the trace.
        cost_usd: The sum of the costs that the program recorded; None when there are none. Nothing
            is priced here.
        meta: Facts about the whole trace: `trace.meta` outside any span.
    """

    id: str
    name: str
    started_at: str
    status: Status
    path: str
    duration_ms: float | None = None
    size_bytes: int = 0
    spans: int = 0
    model_calls: int = 0
    errors: int = 0
    tokens: int = 0
    cost_usd: float | None = None
    meta: dict[str, Json] | None = None


def capture_of(entry: dict[str, Any], path: Path) -> Capture:
    """Return the capture of an index entry."""
    status: Status = entry.get("status") or ("open" if is_recording(entry) else "interrupted")
    members = (*_FACTS, "size_bytes", "meta")
    facts = {key: entry[key] for key in members if key in entry and key != "unpriced_calls"}
    return Capture(entry["id"], entry["name"], entry["started_at"], status, os.fspath(path), **facts)


def end_of(capture_id: str, trace: TraceData, size: int) -> dict[str, Any]:
    """Return the index entry for the end of a capture.

    Args:
        capture_id: Its id.
        trace: What was recorded.
        size: The size of its journal, in bytes.
    """
    facts = summary_of(trace)
    meta = {key: value for key, value in trace.meta.items() if key not in ("journal", "tags", "lines")}
    end = {"t": "end", "id": capture_id, "status": trace.status, "size_bytes": size, "meta": meta}
    return {**end, **{key: facts[key] for key in _FACTS}}


def header_of(path: Path) -> dict[str, Any]:
    """Return the first record of a journal; empty when it has none."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.readline(10_000).partition(b":")[2])
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_recording(entry: dict[str, Any]) -> bool:
    """Return whether the process of a capture without an end is still running.

    A process id alone is not enough: containers reuse them.
    """
    is_this_process = entry.get("pid") == os.getpid()
    return is_alive(entry.get("pid")) and (not is_this_process or entry.get("process") == PROCESS_ID)


def report_of(captures: Sequence[Capture]) -> dict[str, Json]:
    """Return the totals of captures, newest first, and of each name; see `TraceStore.report`."""
    names: dict[str, list[Capture]] = {}
    for capture in captures:
        names.setdefault(capture.name, []).append(capture)
    return {
        "captures": len(captures),
        "size_bytes": sum(capture.size_bytes for capture in captures),
        "first_at": captures[-1].started_at if captures else None,
        "last_at": captures[0].started_at if captures else None,
        "names": {name: _statistics_of(group) for name, group in sorted(names.items())},
    }


def _statistics_of(group: list[Capture]) -> Json:
    times = sorted((each.duration_ms, each.id) for each in group if each.duration_ms is not None)
    costs = [each.cost_usd for each in group if each.cost_usd is not None]
    return {
        "captures": len(group),
        "errors": sum(each.status == "error" for each in group),
        "interrupted": sum(each.status == "interrupted" for each in group),
        "open": sum(each.status == "open" for each in group),
        "tokens": sum(each.tokens for each in group),
        "cost_usd": round(sum(costs), 9) if costs else None,
        "p50_ms": times[(len(times) - 1) // 2][0] if times else None,
        "p95_ms": times[max(0, -(-len(times) * 95 // 100) - 1)][0] if times else None,
        "slowest": times[-1][1] if times else None,
    }


def iso_time(seconds: float) -> str:
    """Return a Unix time as UTC, ISO 8601 with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def started_at_s(header: dict[str, Any]) -> float:
    """Return the Unix time in the first record of a journal; 0 when it has none."""
    try:
        return nanoseconds(header.get("started_at_ns", 0)) / 1e9
    except (TypeError, ValueError):
        return 0.0
