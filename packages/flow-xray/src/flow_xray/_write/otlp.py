"""Write OTLP/JSON: one export request for any OpenTelemetry backend (`POST /v1/traces`).

Names are those of the GenAI conventions. Messages are one JSON text each, because the SDKs and many
backends keep only 128 attributes of a span. What OpenTelemetry has no attribute for (the kind, a
span that is still open) is written under `flow_xray.`, so that reading the file again gives the
same tree.
"""

import json
from hashlib import blake2b
from typing import Any, Final

from flow_xray._data.span import Json, Span
from flow_xray._data.trace_data import TraceData
from flow_xray._data.version import package_version
from flow_xray._otel import names
from flow_xray._otel.messages import decoded, written_message

_HEX: Final = frozenset("0123456789abcdef")
_CLIENT, _INTERNAL = 3, 1
_MESSAGE_KEYS: Final = ("messages", "history")


def otlp(trace: TraceData) -> str:
    """Return the JSON text of a frozen, priced trace."""
    trace_id = _hex_id(trace.trace_id, 32)
    last = max((span.started_at_ns + (span.duration_ns or 0) for span in trace.spans), default=0)
    own = {"name": trace.name, "value": trace.value, "meta": trace.meta}
    resource = {
        names.SERVICE: trace.name,
        "telemetry.sdk.name": "flow-xray",
        "telemetry.sdk.language": "python",
        names.OWN_TRACE: _json(own),
    }
    spans = [_span(span, trace_id, last) for span in trace.spans]
    whole = {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [{"scope": {"name": "flow_xray", "version": package_version()}, "spans": spans}],
            }
        ]
    }
    return json.dumps(whole, separators=(",", ":")) + "\n"


def _span(span: Span, trace_id: str, last: int) -> dict[str, Any]:
    end = last if span.duration_ns is None else span.started_at_ns + span.duration_ns
    out: dict[str, Any] = {
        "traceId": trace_id,
        "spanId": _hex_id(span.id, 16),
        "name": span.name,
        "kind": _CLIENT if span.kind in ("llm", "embedding") else _INTERNAL,
        "startTimeUnixNano": str(max(0, span.started_at_ns)),
        "endTimeUnixNano": str(max(0, end)),
        "attributes": _attributes(_attributes_of(span)),
        "status": _status(span),
    }
    if span.parent_id is not None:
        out["parentSpanId"] = _hex_id(span.parent_id, 16)
    events = [_event(str(tag.get("name", "tag")), tag.get("at_ns"), tag, span) for tag in span.tags]
    if span.error is not None:
        raised = {
            names.EXCEPTION_TYPE: span.error.get("type"),
            names.EXCEPTION_MESSAGE: span.error.get("message"),
            names.EXCEPTION_STACK: span.error.get("traceback"),
        }
        events.append(_event(names.EXCEPTION, end, raised, span))
    if events:
        out["events"] = events
    return out


def _attributes_of(span: Span) -> dict[str, Any]:
    meta = dict(span.meta)
    written: dict[str, Any] = {names.OWN_KIND: span.kind}
    operation = names.OPERATION_OF_KIND.get(span.kind)
    if operation is not None:
        written[names.OPERATION] = operation
    model = meta.pop("model", None)
    if isinstance(model, str):
        written[names.MODEL[1]] = written[names.MODEL[0]] = model
    elif model is not None:
        meta["model"] = model
    for key, keys in names.COUNTS.items():
        if type(meta.get(key)) is int:
            written[keys[0]] = meta.pop(key)
    cost = meta.get("cost_usd")
    if isinstance(cost, int | float) and not isinstance(cost, bool):
        written[names.OWN_COST] = written[names.OPENINFERENCE_COST] = float(cost)
        del meta["cost_usd"]
    for key, name in names.WRITTEN_FACTS.items():
        if isinstance(meta.get(key), str | int | float):
            written[name] = meta.pop(key)
    first = meta.get("time_to_first_item_ms")
    if isinstance(first, int | float) and span.kind == "llm":
        written[names.FIRST_CHUNK_S[0]] = float(first) / 1000
    _put_values(span, meta, written)
    if span.thread:
        written[names.THREAD] = span.thread
    if span.code:
        file, _, line = span.code.rpartition(":")
        written[names.CODE_FILE] = file or span.code
        written[names.CODE_LINE] = int(line) if file and line.isdigit() else None
    if span.status not in ("ok", "error"):
        written[names.OWN_STATUS] = span.status
    if span.error is not None:
        written[names.ERROR_TYPE] = span.error.get("type")
        if "origin" in span.error:
            written[names.OWN_ORIGIN] = span.error["origin"]
    attributes = meta.pop("attributes", None)
    if isinstance(
        attributes, dict
    ):  # a span that came from OpenTelemetry: its attributes are written as they were read
        written = {
            **{
                key: value if isinstance(value, str | int | float) else _json(value)
                for key, value in attributes.items()
            },
            **written,
        }
    if meta:
        written[names.OWN_META] = _json(meta)
    return written


def _put_values(span: Span, meta: dict[str, Json], written: dict[str, Any]) -> None:
    if span.kind == "tool":
        written[names.TOOL_NAME] = span.name
        written.update({names.TOOL_ARGUMENTS: _plain(span.input), names.TOOL_RESULT: _plain(span.output)})
        return
    rest = span.input
    output = span.output
    if span.kind == "llm":
        messages, rest = _messages(meta.get("messages"), span.input)
        if messages is not None:
            written[names.INPUT_MESSAGES] = _json(messages)
            meta.pop("messages", None)
        outputs = output if isinstance(output, list) else [output]
        messages_out = [written_message(each, "assistant") for each in outputs]
        if messages_out and all(message is not None for message in messages_out):
            written[names.OUTPUT_MESSAGES] = _json(messages_out)
            output = None
    written.update({names.INPUT_VALUE: _plain(rest), names.OUTPUT_VALUE: _plain(output)})
    if isinstance(rest, dict | list):
        written[names.INPUT_TYPE] = names.JSON_TYPE
    if isinstance(output, dict | list):
        written[names.OUTPUT_TYPE] = names.JSON_TYPE


def _messages(known: Json, given: Json) -> tuple[list[Json] | None, Json]:
    """Return the messages of a model call as they are written, and the rest of its input."""
    if (found := _messages_in(known)) is not None:
        return found, given
    if (found := _messages_in(given)) is not None:
        return found, None
    if isinstance(given, dict):
        for key in _MESSAGE_KEYS:
            if (found := _messages_in(given.get(key))) is not None:
                return found, {name: value for name, value in given.items() if name != key} or None
    return None, given


def _messages_in(value: Json) -> list[Json] | None:
    value = decoded(value)
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return None
    messages = [written_message(item, "user") for item in value]
    return list[Json](messages) if all(message is not None for message in messages) else None


def _status(span: Span) -> dict[str, Any]:
    if span.error is None and span.status != "error":
        return {}
    return {"code": 2, "message": str((span.error or {}).get("message", ""))}


def _event(name: str, at_ns: Json, values: dict[str, Json], span: Span) -> dict[str, Any]:
    at = at_ns if isinstance(at_ns, int) and at_ns >= 0 else span.started_at_ns
    written = {key: value for key, value in values.items() if key not in ("name", "at_ns")}
    return {"name": name, "timeUnixNano": str(at), "attributes": _attributes(written)}


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)} if -(2**63) <= value < 2**63 else {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return {"arrayValue": {"values": [{"stringValue": item} for item in value]}}
    return {"stringValue": value if isinstance(value, str) else _json(value)}


def _plain(value: Json) -> Any:
    """Return a scalar unchanged, and anything else as one JSON text."""
    return _json(value) if isinstance(value, dict | list) else value


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _hex_id(text: str, digits: int) -> str:
    """Return an id that OpenTelemetry accepts: the id, or its hash when it is not hex."""
    if len(text) == digits and _HEX.issuperset(text) and set(text) != {"0"}:
        return text
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=digits // 2).hexdigest()
