"""Read the trace file `flow-xray/1`; the module that writes it describes its format."""

import json
from typing import Any

from flow_xray._data.pool import Key, unpack
from flow_xray._data.span import STATUSES, Json, Span
from flow_xray._data.trace_data import TraceData
from flow_xray._errors import TraceFormatError
from flow_xray._read.damage import expect_object
from flow_xray._write.trace_file import FORMAT


def load(text: str | bytes) -> TraceData:
    """Read a trace file.

    Raises:
        TraceFormatError: It is not one, is damaged, or a newer flow-xray wrote it.
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
        return TraceData(
            name=str(whole.get("name", "trace")),
            spans=[span_in(each, pool) for each in whole["spans"]],
            value=unpack(whole.get("value"), pool),
            meta=expect_object(unpack(whole.get("meta", {}), pool)),
            trace_id=str(whole.get("trace_id", "")),
            is_frozen=True,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TraceFormatError(
            f"cannot read the trace: because it is damaged ({type(error).__name__}: {error}). Write it again."
        ) from error


def span_in(each: dict[str, Any], pool: dict[Key, Json]) -> Span:
    """Return a span of a file; any exception means that it is damaged."""
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
        error=None if error is None else expect_object(error),
        meta={key: unpack(value, pool) for key, value in each.get("meta", {}).items()},
        tags=[expect_object(unpack(tag, pool)) for tag in each.get("tags", [])],
        thread=str(each.get("thread", "")),
        code=str(each.get("code", "")),
    )
