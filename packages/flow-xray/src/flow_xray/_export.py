"""Traces for other viewers: Chrome trace events (Perfetto, DevTools) and speedscope.

Both draw what runs on one lane as a stack, so two calls on a lane must lie inside each other or apart. Calls of one
thread need not: tasks overlap. So every call gets a lane of its thread, its caller's if it fits, and a new one only
when it fits nowhere.
"""

import json
from dataclasses import dataclass, field

from flow_xray._model import Json, Span
from flow_xray._result import TraceResult


@dataclass(slots=True)
class Lane:
    """Calls of one thread that lie inside each other or apart, by their begin; `ends` belong to the calls."""

    thread: str
    spans: list[Span] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    open_ends: list[int] = field(default_factory=list)

    def takes(self, start: int, end: int) -> bool:
        """Say whether a call that begins no earlier than all before fits."""
        while self.open_ends and self.open_ends[-1] <= start:
            self.open_ends.pop()
        return not self.open_ends or end <= self.open_ends[-1]

    def put(self, span: Span, end: int) -> None:
        """Add a call that fits."""
        self.spans.append(span)
        self.ends.append(end)
        self.open_ends.append(end)


def lanes_of(trace: TraceResult) -> list[Lane]:
    """Spread the calls of a trace over lanes; a call without an end lasts to the end of the trace."""
    last = max((span.started_at_ns + (span.duration_ns or 0) for span in trace.spans), default=0)
    timed = [
        (span.started_at_ns, last if span.duration_ns is None else span.started_at_ns + span.duration_ns, span)
        for span in trace.spans
    ]
    timed.sort(key=lambda each: (each[0], -each[1]))
    lanes: list[Lane] = []
    lane_of: dict[str, Lane] = {}
    of_thread: dict[str, list[Lane]] = {}
    for start, end, span in timed:
        own = of_thread.setdefault(span.thread, [])
        caller = lane_of.get(span.parent_id or "")
        wanted = [caller] if caller is not None and caller.thread == span.thread else []
        lane = next((each for each in (*wanted, *own) if each.takes(start, end)), None)
        if lane is None:
            lane = Lane(span.thread)
            lanes.append(lane)
            own.append(lane)
        lane.put(span, end)
        lane_of[span.id] = lane
    return lanes


def chrome(trace: TraceResult) -> str:
    """Return Chrome trace events as JSON text. Source: the Trace Event Format, events "X" and "M"."""
    events: list[Json] = [{"ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": {"name": trace.name}}]
    first = min((span.started_at_ns for span in trace.spans), default=0)
    for number, lane in enumerate(lanes_of(trace), 1):
        title = lane.thread or f"lane {number}"
        events.append({"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": title}})
        for span, end in zip(lane.spans, lane.ends, strict=True):
            told: dict[str, Json] = {"id": span.id, "status": span.status, "input": span.input, "output": span.output}
            told.update(span.meta)
            if span.error is not None:
                told["error"] = dict(span.error)
            events.append(
                {
                    "ph": "X",
                    "pid": 1,
                    "tid": number,
                    "name": span.name,
                    "cat": span.kind,
                    "ts": (span.started_at_ns - first) / 1000,
                    "dur": (end - span.started_at_ns) / 1000,
                    "args": told,
                }
            )
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"trace_id": trace.trace_id}})


def speedscope(trace: TraceResult) -> str:
    """Return a speedscope file as JSON text: one evented profile per lane. Source: speedscope's file format schema."""
    frames: dict[str, int] = {}
    first = min((span.started_at_ns for span in trace.spans), default=0)
    profiles: list[Json] = []
    for number, lane in enumerate(lanes_of(trace), 1):
        events: list[Json] = []
        open_calls: list[tuple[int, int]] = []
        last = 0
        for span, end in zip(lane.spans, lane.ends, strict=True):
            start = span.started_at_ns - first
            while open_calls and open_calls[-1][0] <= start:
                until, frame = open_calls.pop()
                events.append({"type": "C", "frame": frame, "at": until})
            frame = frames.setdefault(f"{span.name} ({span.kind})", len(frames))
            events.append({"type": "O", "frame": frame, "at": start})
            open_calls.append((end - first, frame))
            last = max(last, end - first)
        while open_calls:
            until, frame = open_calls.pop()
            events.append({"type": "C", "frame": frame, "at": until})
        profiles.append(
            {
                "type": "evented",
                "name": lane.thread or f"lane {number}",
                "unit": "nanoseconds",
                "startValue": 0,
                "endValue": last,
                "events": events,
            }
        )
    return json.dumps(
        {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "exporter": "flow-xray",
            "name": trace.name,
            "shared": {"frames": [{"name": name} for name in frames]},
            "profiles": profiles,
        }
    )
