"""Write Chrome trace events, for Perfetto and DevTools. Source: the Trace Event Format."""

import json
from typing import TYPE_CHECKING

from flow_xray._data.trace_data import TraceData
from flow_xray._write.lanes import lanes_of

if TYPE_CHECKING:
    from flow_xray._data.span import Json


def chrome(trace: TraceData) -> str:
    """Return Chrome trace events as JSON text: events "X" (complete) and "M" (names)."""
    events: list[Json] = [{"ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": {"name": trace.name}}]
    first = min((span.started_at_ns for span in trace.spans), default=0)
    for number, lane in enumerate(lanes_of(trace), 1):
        title = lane.thread or f"lane {number}"
        events.append({"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": title}})
        for span, end in zip(lane.spans, lane.ends, strict=True):
            arguments: dict[str, Json] = {
                "id": span.id,
                "status": span.status,
                "input": span.input,
                "output": span.output,
            }
            arguments.update(span.meta)
            if span.error is not None:
                arguments["error"] = dict(span.error)
            events.append(
                {
                    "ph": "X",
                    "pid": 1,
                    "tid": number,
                    "name": span.name,
                    "cat": span.kind,
                    "ts": (span.started_at_ns - first) / 1000,
                    "dur": (end - span.started_at_ns) / 1000,
                    "args": arguments,
                }
            )
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"trace_id": trace.trace_id}})
