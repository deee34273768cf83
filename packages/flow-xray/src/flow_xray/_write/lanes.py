"""Lanes: calls distributed over rows so that those of one row are nested or disjoint.

Chrome's and speedscope's viewers draw what runs on one lane as a stack. Calls of one thread need
not nest: tasks overlap. So every call gets a lane of its thread, that of its caller if it fits
there, and a new one when it fits in no other.
"""

from dataclasses import dataclass, field

from flow_xray._data.span import Span
from flow_xray._data.trace_data import TraceData


@dataclass(slots=True)
class Lane:
    """Calls of one thread that are nested or disjoint, by start, and the end of each."""

    thread: str
    spans: list[Span] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    open_ends: list[int] = field(default_factory=list)

    def has_room(self, start: int, end: int) -> bool:
        """Return whether a call fits; it must not start before those that are in the lane."""
        while self.open_ends and self.open_ends[-1] <= start:
            self.open_ends.pop()
        return not self.open_ends or end <= self.open_ends[-1]

    def add(self, span: Span, end: int) -> None:
        """Add a call that fits."""
        self.spans.append(span)
        self.ends.append(end)
        self.open_ends.append(end)


def lanes_of(trace: TraceData) -> list[Lane]:
    """Distribute the calls of a trace over lanes.

    A call without an end lasts to the end of the trace.
    """
    last = max((span.started_at_ns + (span.duration_ns or 0) for span in trace.spans), default=0)
    timed = [
        (span.started_at_ns, last if span.duration_ns is None else span.started_at_ns + span.duration_ns, span)
        for span in trace.spans
    ]
    timed.sort(key=lambda each: (each[0], -each[1]))
    lanes: list[Lane] = []
    lane_of: dict[str, Lane] = {}
    by_thread: dict[str, list[Lane]] = {}
    for start, end, span in timed:
        own = by_thread.setdefault(span.thread, [])
        caller = lane_of.get(span.parent_id or "")
        preferred = [caller] if caller is not None and caller.thread == span.thread else []
        lane = next((each for each in (*preferred, *own) if each.has_room(start, end)), None)
        if lane is None:
            lane = Lane(span.thread)
            lanes.append(lane)
            own.append(lane)
        lane.add(span, end)
        lane_of[span.id] = lane
    return lanes
