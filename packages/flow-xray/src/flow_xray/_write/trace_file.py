"""Write the trace file `flow-xray/1`: one JSON object, values pooled by content.

    {"format": "flow-xray/1", "name", "trace_id", "value", "meta", "pool": [...], "spans": [{...}]}

A span has the member names of `Span`; empty members are left out. A reader of version 1 refuses
other versions and ignores members that it does not know.
"""

import json
from collections.abc import Callable

from flow_xray._data.pool import Key, Lists, pack
from flow_xray._data.span import Json, Span
from flow_xray._data.trace_data import TraceData

FORMAT = "flow-xray/1"


def dump(trace: TraceData) -> str:
    """Return the JSON text of a frozen trace."""
    pool: list[Json] = []
    known: dict[str, int] = {}

    def put(value: Json) -> Key:
        text = value if isinstance(value, str) else "\0" + json.dumps(value, sort_keys=True)
        key = known.setdefault(text, len(pool))
        if key == len(pool):
            pool.append(value)
        return key

    lists = Lists()

    def packed(value: Json) -> Json:
        return pack(value, put, lists)

    spans = [_span_object(span, packed) for span in trace.spans]
    whole = {
        "format": FORMAT,
        "name": trace.name,
        "trace_id": trace.trace_id,
        "value": packed(trace.value),  # type: ignore[arg-type]  # JSON, because the trace is frozen
        "meta": packed(dict(trace.meta)),
        "pool": pool,
        "spans": spans,
    }
    return json.dumps(whole, separators=(",", ":"), allow_nan=False)


def _span_object(span: Span, packed: Callable[[Json], Json]) -> dict[str, Json]:
    out: dict[str, Json] = {
        "id": span.id,
        "parent_id": span.parent_id,
        "name": span.name,
        "kind": span.kind,
        "started_at_ns": span.started_at_ns,
        "duration_ns": span.duration_ns,
        "status": span.status,
        "thread": span.thread,
    }
    if span.code:
        out["code"] = span.code
    if span.input is not None:
        out["input"] = packed(span.input)
    if span.output is not None:
        out["output"] = packed(span.output)
    if span.error is not None:
        out["error"] = packed(dict(span.error))
    if span.meta:
        out["meta"] = {key: packed(value) for key, value in span.meta.items()}
    if span.tags:
        out["tags"] = [packed(dict(tag)) for tag in span.tags]
    return out
