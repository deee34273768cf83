"""Read Chrome trace events: what of a foreign profile has a name, a lane and a time becomes spans.

Complete events (`X`) and pairs of begin and end (`B`/`E`, and `b`/`e` by id) are read; parents come from what lies
inside what on a lane. Counters, flows and samples are left out and said. Source: the Trace Event Format.
"""

from collections import Counter
from typing import Any

from flow_xray._errors import TraceFormatError
from flow_xray._model import STATUSES, Json, Span
from flow_xray._result import TraceResult

_OWN = ("status", "input", "output", "error", "id")


def read_chrome(whole: Any, path: str) -> TraceResult:
    """Return the trace in Chrome trace events, an object or the list alone.

    Raises:
        TraceFormatError: there is no call in it.
    """
    events = whole["traceEvents"] if isinstance(whole, dict) else whole
    lanes: dict[tuple[str, str], str] = {}
    spans: list[tuple[tuple[str, str], Span]] = []
    begun: dict[tuple[Any, ...], list[tuple[dict[str, Any], float]]] = {}
    left_out: Counter[str] = Counter()
    name = "trace"
    for event in events:
        try:
            word, lane = str(event["ph"]), (str(event.get("pid", "")), str(event.get("tid", "")))
            if word == "M":
                title = str(event.get("args", {}).get("name", ""))
                if event.get("name") == "thread_name":
                    lanes[lane] = title
                elif event.get("name") == "process_name" and title:
                    name = title
            elif word == "X":
                spans.append((lane, _span(len(spans), event, float(event["ts"]), float(event.get("dur", 0)))))
            elif word in "Bb":
                begun.setdefault((*lane, event.get("id") if word == "b" else None), []).append(
                    (event, float(event["ts"]))
                )
            elif word in "Ee":
                first, start = begun[(*lane, event.get("id") if word == "e" else None)].pop()
                spans.append((lane, _span(len(spans), first, start, float(event["ts"]) - start)))
            else:
                left_out[word] += 1
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
            left_out["?"] += 1
    for (pid, tid, _), still in begun.items():
        for first, start in still:
            spans.append(((pid, tid), _span(len(spans), first, start, None)))
    if not spans:
        raise TraceFormatError(f"cannot read {path!r}: because there is no call with a begin and an end in it.")
    for lane, span in spans:
        span.thread = lanes.get(lane) or " ".join(part for part in lane if part)
    _set_parents(spans)
    notes: list[Json] = [
        f"{sum(left_out.values()):,} Chrome events were left out: they have no begin and end (samples, counters, flows)"
    ]
    other = whole.get("otherData") if isinstance(whole, dict) else None
    trace_id = str(other.get("trace_id", "")) if isinstance(other, dict) else ""
    meta: dict[str, Json] = {"notes": notes} if left_out else {}
    return TraceResult(name, [span for _, span in spans], meta=meta, trace_id=trace_id).frozen()


def _span(number: int, event: dict[str, Any], start: float, took: float | None) -> Span:
    span = Span(f"{number + 1:016x}", None, str(event.get("name", "call")), started_at_ns=int(start * 1000))
    span.duration_ns = None if took is None else max(0, int(took * 1000))
    span.status = "interrupted" if took is None else "ok"
    args = event.get("args")
    told = dict(args) if isinstance(args, dict) else {}
    category = event.get("cat")
    if "status" in told and told["status"] in STATUSES and "id" in told:  # written by flow-xray
        span.kind, span.status = str(category or "function"), told["status"]
        span.input, span.output = told.get("input"), told.get("output")
        error = told.get("error")
        span.error = error if isinstance(error, dict) else None
        span.meta = {key: value for key, value in told.items() if key not in _OWN}
        if span.status in ("open", "interrupted"):
            span.duration_ns = None
        return span
    span.input = told or None
    if category:
        span.meta["category"] = str(category)
    return span


def _set_parents(spans: "list[tuple[tuple[str, str], Span]]") -> None:
    """Hang each call under the innermost call of its lane that lies around it."""
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
