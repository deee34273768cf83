"""The trace file `flow-xray/1`: one JSON object, values pooled by content.

    {"format": "flow-xray/1", "name", "trace_id", "value", "meta", "pool": [...], "spans": [{...}]}

A span keeps the names of `Span`; members that are empty are left out. A reader of version 1 refuses other versions and
ignores members that it does not know.
"""

import json
from collections.abc import Callable
from typing import Any

from flow_xray._errors import TraceFormatError
from flow_xray._model import STATUSES, Json, Span
from flow_xray._pool import Key, Lists, pack, unpack
from flow_xray._result import TraceResult

FORMAT = "flow-xray/1"


def dump(trace: TraceResult) -> str:
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

    spans = [_span_out(span, packed) for span in trace.spans]
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


def _span_out(span: Span, packed: Callable[[Json], Json]) -> dict[str, Json]:
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


def load(text: str | bytes) -> TraceResult:
    """Read a trace file.

    Raises:
        TraceFormatError: it is not one, is damaged, or is newer.
    """
    try:
        whole = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise TraceFormatError(
            f"cannot read the trace: because it is not JSON ({error}). Give a file written by to_json()."
        ) from error
    if not isinstance(whole, dict) or not str(whole.get("format", "")).startswith("flow-xray/"):
        raise TraceFormatError(
            "cannot read the trace: because it is JSON of another kind. Give a file written by to_json()."
        )
    if whole["format"] != FORMAT:
        raise TraceFormatError(
            f"cannot read the trace: because it is {whole['format']!r} and this flow-xray reads {FORMAT!r}. Update it."
        )
    try:
        pool: dict[Key, Json] = {}
        for index, value in enumerate(whole.get("pool", [])):
            pool[index] = unpack(value, pool)
        return TraceResult(
            name=str(whole.get("name", "trace")),
            spans=[span_in(each, pool) for each in whole["spans"]],
            value=unpack(whole.get("value"), pool),
            meta=_dict(unpack(whole.get("meta", {}), pool)),
            trace_id=str(whole.get("trace_id", "")),
            is_frozen=True,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TraceFormatError(
            f"cannot read the trace: because it is damaged ({type(error).__name__}: {error}). Write it again."
        ) from error


def span_in(each: dict[str, Any], pool: dict[Key, Json]) -> Span:
    """Return a span of a file; any error means that it is damaged."""
    error = unpack(each.get("error"), pool)
    duration = each.get("duration_ns")
    status = each.get("status", "ok")
    if status not in STATUSES:
        raise ValueError(f"unknown status {status!r}")
    parent = each.get("parent_id")
    return Span(
        id=str(each["id"]),
        parent_id=None if parent is None else str(parent),
        name=str(each["name"]),
        kind=str(each.get("kind", "function")),
        started_at_ns=int(each.get("started_at_ns", 0)),
        duration_ns=None if duration is None else int(duration),
        status=status,
        input=unpack(each.get("input"), pool),
        output=unpack(each.get("output"), pool),
        error=None if error is None else _dict(error),
        meta={key: unpack(value, pool) for key, value in each.get("meta", {}).items()},
        tags=[_dict(unpack(tag, pool)) for tag in each.get("tags", [])],
        thread=str(each.get("thread", "")),
        code=str(each.get("code", "")),
    )


def _dict(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError(f"an object was expected, not {type(value).__name__}")
    return value
