"""Read the trace file `flow-xray/1`; the module that writes it describes its format."""

from typing import Any

from flow_xray._data.span import STATUSES, Span
from flow_xray._data.trace_data import TraceData
from flow_xray._data.unpack import Pool, nanoseconds
from flow_xray._errors import TooLargeError, TraceFormatError
from flow_xray._read.bounds import SPAN_BYTES, check_memory, decode, taken
from flow_xray._write.trace_file import FORMAT


def load(text: str | bytes) -> TraceData:
    """Read a trace file.

    Raises:
        TraceFormatError: It is not one, is damaged, or a newer flow-xray wrote it.
    """
    try:
        whole = decode(text)
    except TooLargeError:
        raise
    except ValueError as error:
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
        pool = Pool(len(text))
        for index, value in enumerate(taken(whole.get("pool", []))):
            pool.add(index, value)
        check_memory(len(whole["spans"]), "spans", SPAN_BYTES, len(text))
        return TraceData(
            name=str(whole.get("name", "trace")),
            spans=[span_in(each, pool) for each in taken(whole["spans"])],
            value=pool.unpack(whole.get("value")),
            meta=pool.unpack_members(whole.get("meta", {})),
            trace_id=str(whole.get("trace_id", "")),
            is_frozen=True,
        )
    except TooLargeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TraceFormatError(
            f"cannot read the trace: because it is damaged ({type(error).__name__}: {error}). Write it again."
        ) from error


def span_in(each: dict[str, Any], pool: Pool) -> Span:
    """Return a span of a file; any exception means that it is damaged."""
    error = each.get("error")
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
        started_at_ns=nanoseconds(each.get("started_at_ns", 0)),
        duration_ns=None if duration is None else nanoseconds(duration),
        status=status,
        input=pool.unpack(each.get("input")),
        output=pool.unpack(each.get("output")),
        error=None if error is None else pool.unpack_members(error),
        meta=pool.unpack_members(each.get("meta", {})),
        tags=[pool.unpack_members(tag) for tag in each.get("tags", [])],
        thread=str(each.get("thread", "")),
        code=str(each.get("code", "")),
    )
