"""Read Chrome trace events: events of a profile with a name, a lane and a duration become spans.

Complete events (`X`) and pairs of begin and end (`B`/`E`, and `b`/`e` by id) are read; an event
inside another one of its lane is its child. Counters, flows and samples are omitted, and a note
gives their number. Source: the Trace Event Format.
"""

from collections import Counter
from typing import Any

from flow_xray._data.span import STATUSES, Json, Span
from flow_xray._data.trace_data import TraceData
from flow_xray._data.unpack import nanoseconds, with_countable_meta
from flow_xray._errors import TraceFormatError
from flow_xray._read.bounds import FOREIGN_SPAN_BYTES, check_memory, taken

_OWN = ("status", "input", "output", "error", "id")


def read_chrome(whole: Any, path: str, *, size: int = 0) -> TraceData:
    """Return the trace in Chrome trace events: the object, or its list of events alone.

    Raises:
        TraceFormatError: No event in it has a begin and an end.
    """
    events = whole["traceEvents"] if isinstance(whole, dict) else whole
    check_memory(len(events), "events", FOREIGN_SPAN_BYTES, size)
    lanes: dict[tuple[str, str], str] = {}
    spans: list[tuple[tuple[str, str], Span]] = []
    unfinished: dict[tuple[Any, ...], list[tuple[dict[str, Any], float]]] = {}
    left_out: Counter[str] = Counter()
    name = "trace"
    for event in taken(events):
        try:
            phase, lane = str(event["ph"]), (str(event.get("pid", "")), str(event.get("tid", "")))
            if phase == "M":
                title = str(event.get("args", {}).get("name", ""))
                if event.get("name") == "thread_name":
                    lanes[lane] = title
                elif event.get("name") == "process_name" and title:
                    name = title
            elif phase == "X":
                spans.append((lane, _span(len(spans), event, float(event["ts"]), float(event.get("dur", 0)))))
            elif phase in "Bb":
                unfinished.setdefault((*lane, event.get("id") if phase == "b" else None), []).append(
                    (event, float(event["ts"]))
                )
            elif phase in "Ee":
                first, start = unfinished[(*lane, event.get("id") if phase == "e" else None)].pop()
                spans.append((lane, _span(len(spans), first, start, float(event["ts"]) - start)))
            else:
                left_out[phase] += 1
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
            left_out["?"] += 1
    for (pid, tid, _), still in unfinished.items():
        for first, start in still:
            spans.append(((pid, tid), _span(len(spans), first, start, None)))
    if not spans:
        raise TraceFormatError(f"cannot read {path!r}: because no event in it has a begin and an end.")
    for lane, span in spans:
        span.thread = lanes.get(lane) or " ".join(part for part in lane if part)
    _set_parents(spans)
    notes: list[Json] = [
        f"{sum(left_out.values()):,} Chrome events were left out: they have no begin and end (samples, counters, flows)"
    ]
    other = whole.get("otherData") if isinstance(whole, dict) else None
    trace_id = str(other.get("trace_id", "")) if isinstance(other, dict) else ""
    meta: dict[str, Json] = {"notes": notes} if left_out else {}
    return with_countable_meta(TraceData(name, [span for _, span in spans], meta=meta, trace_id=trace_id).frozen())


def _span(number: int, event: dict[str, Any], start: float, took: float | None) -> Span:
    span = Span(f"{number + 1:016x}", None, str(event.get("name", "call")), started_at_ns=nanoseconds(start * 1000))
    span.duration_ns = None if took is None else max(0, nanoseconds(took * 1000))
    span.status = "interrupted" if took is None else "ok"
    args = event.get("args")
    arguments = dict(args) if isinstance(args, dict) else {}
    category = event.get("cat")
    if "status" in arguments and arguments["status"] in STATUSES and "id" in arguments:  # written by flow-xray
        span.kind, span.status = str(category or "function"), arguments["status"]
        span.input, span.output = arguments.get("input"), arguments.get("output")
        error = arguments.get("error")
        span.error = error if isinstance(error, dict) else None
        span.meta = {key: value for key, value in arguments.items() if key not in _OWN}
        if span.status in ("open", "interrupted"):
            span.duration_ns = None
        return span
    span.input = arguments or None
    if category:
        span.meta["category"] = str(category)
    return span


def _set_parents(spans: "list[tuple[tuple[str, str], Span]]") -> None:
    """Make each call the child of the innermost call of its lane that contains it."""
    ordered = sorted(spans, key=lambda each: (each[1].started_at_ns, -(each[1].duration_ns or 0)))
    open_calls: dict[tuple[str, str], list[tuple[float, Span]]] = {}
    for lane, span in ordered:
        end = float("inf") if span.duration_ns is None else span.started_at_ns + span.duration_ns
        stack = open_calls.setdefault(lane, [])
        while stack and (stack[-1][0] <= span.started_at_ns or stack[-1][0] < end):
            stack.pop()
        if stack:
            span.parent_id = stack[-1][1].id
        stack.append((end, span))
