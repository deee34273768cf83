"""Write a speedscope file. Source: speedscope's file format schema."""

import json
from typing import TYPE_CHECKING

from flow_xray._data.trace_data import TraceData
from flow_xray._write.lanes import lanes_of

if TYPE_CHECKING:
    from flow_xray._data.span import Json


def speedscope(trace: TraceData) -> str:
    """Return a speedscope file as JSON text: one evented profile for each lane."""
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
