"""Read OTLP/JSON, as written by an OpenTelemetry exporter or the collector's file exporter.

A file is one `ExportTraceServiceRequest`, or one per line. It may still be written to: an
incomplete last line is omitted, and a note reports it. Names are read in camelCase and snake_case,
ids in hex and base64, 64-bit numbers as text. Every value is frozen and redacted. Source: the OTLP
specification, JSON protobuf encoding.
"""

import base64
import binascii
from collections import Counter
from typing import Any

from flow_xray._data.span import Json, Span
from flow_xray._data.trace_data import TraceData
from flow_xray._data.unpack import nanoseconds, with_countable_meta
from flow_xray._errors import TraceFormatError
from flow_xray._otel.attributes import Event, fill, separate_sums
from flow_xray._otel.messages import decoded
from flow_xray._otel.names import OWN_TRACE, SERVICE
from flow_xray._read.bounds import FOREIGN_SPAN_BYTES, check_memory, taken

_MAX_DEPTH = 64
_ERROR = (2, "2", "STATUS_CODE_ERROR", "ERROR")


def read_otlp(requests: list[Any], path: str, *, is_cut: bool = False, size: int = 0) -> TraceData:
    """Return the trace in export requests.

    Args:
        requests: Decoded JSON, one or many.
        path: The file name for error messages.
        is_cut: The last line of the file was incomplete.
        size: The number of bytes of the file.

    Raises:
        TraceFormatError: It has no span that can be read.
    """
    spans: dict[str, Span] = {}
    traces: Counter[str] = Counter()
    resource: dict[str, Any] = {}
    unreadable = dropped = 0
    for request in requests:
        for of_resource in _list(request, "resourceSpans", "resource_spans"):
            about = _attributes(_get(_get(of_resource, "resource"), "attributes"))
            resource = resource or about
            scopes = _list(of_resource, "scopeSpans", "scope_spans") + _list(of_resource, "instrumentationLibrarySpans")
            check_memory(
                len(spans) + sum(len(_list(scope, "spans")) for scope in scopes), "spans", FOREIGN_SPAN_BYTES, size
            )
            for each in (span for scope in scopes for span in taken(_list(scope, "spans"))):
                try:
                    span = _span(each, str(about.get(SERVICE, "")))
                except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError):
                    unreadable += 1
                    continue
                spans[span.id] = span
                traces[_id(_get(each, "traceId", "trace_id")) or ""] += 1
                count = _get(each, "droppedAttributesCount", "dropped_attributes_count")
                dropped += int(count) if str(count).isdigit() else 0
    if not spans:
        raise TraceFormatError(
            f"cannot read {path!r}: because it has no span that can be read. Give OTLP/JSON of traces."
        )
    separate_sums(list(spans.values()))
    notes: list[Json] = []
    if unreadable:
        notes.append(f"{unreadable} {'span' if unreadable == 1 else 'spans'} could not be read")
    if dropped:
        notes.append(f"the SDK that recorded this dropped {dropped} attributes (its limit per span)")
    if is_cut:
        notes.append("the last line is incomplete and was left out")
    if len(traces) > 1:
        notes.append(f"{len(traces)} traces are shown together")
    own = decoded(resource.pop(OWN_TRACE, None))
    own = own if isinstance(own, dict) else {}
    meta: dict[str, Any] = dict(own["meta"]) if isinstance(own.get("meta"), dict) else {}
    if resource and not own:
        meta["resource"] = resource
    if notes:
        meta["notes"] = notes
    trace = TraceData(
        spans=list(spans.values()), meta=meta, value=own.get("value"), trace_id=traces.most_common(1)[0][0]
    )
    first = trace.roots[0] if trace.roots else trace.spans[0]
    trace.name = str(own.get("name") or first.name or resource.get(SERVICE) or "trace")
    return with_countable_meta(trace.frozen())


def _span(each: dict[str, Any], service: str) -> Span:
    start = nanoseconds(_get(each, "startTimeUnixNano", "start_time_unix_nano"))
    end = nanoseconds(_get(each, "endTimeUnixNano", "end_time_unix_nano") or 0)
    parent = _id(_get(each, "parentSpanId", "parent_span_id"))
    span_id = _id(_get(each, "spanId", "span_id"))
    if span_id is None:
        raise ValueError("a span without an id")
    status = _get(each, "status") or {}
    span = Span(span_id, parent, str(each.get("name", "span")), started_at_ns=start, thread=service)
    span.duration_ns = max(0, end - start) if end else None
    events = [
        Event(
            str(event.get("name", "event")),
            nanoseconds(_get(event, "timeUnixNano", "time_unix_nano") or 0),
            _attributes(event.get("attributes")),
        )
        for event in _list(each, "events")
    ]
    attributes = _attributes(each.get("attributes"))
    fill(span, attributes, events, is_error=status.get("code") in _ERROR, message=str(status.get("message", "")))
    links = [_id(_get(link, "spanId", "span_id")) for link in _list(each, "links")]
    if links:
        span.meta["links"] = list[Json](links)
    return span


def _get(thing: Any, *keys: str) -> Any:
    if not isinstance(thing, dict):
        return None
    return next((thing[key] for key in keys if key in thing), None)


def _list(thing: Any, *keys: str) -> list[Any]:
    found = _get(thing, *keys)
    return found if isinstance(found, list) else []


def _id(value: Any) -> str | None:
    """Return an id as lower-case hex; None when it is missing or all zeros."""
    if not isinstance(value, str) or not value:
        return None
    text = value
    if len(value) in (12, 24) and not _is_hex(value):  # the plain protobuf encoding of 8 or 16 bytes
        try:
            text = base64.b64decode(value, validate=True).hex()
        except (ValueError, binascii.Error):
            text = value
    return None if set(text) == {"0"} else text.lower()


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdefABCDEF" for letter in text)


def _attributes(given: Any, depth: int = 0) -> dict[str, Any]:
    if not isinstance(given, list):
        return {}
    found = {}
    for each in given:
        if isinstance(each, dict) and "key" in each:
            try:
                found[str(each["key"])] = _value(each.get("value"), depth)
            except (TypeError, ValueError):  # intValue "x"
                found[str(each["key"])] = each.get("value")
    return found


def _value(given: Any, depth: int) -> Any:
    if not isinstance(given, dict):
        return given
    if depth > _MAX_DEPTH:
        return "<not shown: it is nested too deeply>"
    for key, value in given.items():
        name = key.replace("_v", "V")
        if name == "intValue":
            return int(value)
        if name == "arrayValue":
            return [_value(item, depth + 1) for item in _list(value, "values")]
        if name == "kvlistValue":
            return _attributes(_get(value, "values"), depth + 1)
        if name in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
            return value
    return None
