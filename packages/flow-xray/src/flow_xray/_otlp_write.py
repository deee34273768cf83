"""Write OTLP/JSON: one export request that any OpenTelemetry backend takes (`POST /v1/traces`).

Names are those of the GenAI conventions. Messages are one JSON text each, because the SDKs and many backends keep 128
attributes of a span. What OpenTelemetry has no place for (a span that is still open, the kind, tags of ours) goes
under `flow_xray.`, so that reading the file again gives the same tree.
"""

import json
from hashlib import blake2b
from typing import Any, Final

from flow_xray import _otel_names as names
from flow_xray._model import Json, Span
from flow_xray._otel_messages import decoded, written_message
from flow_xray._result import TraceResult

_HEX: Final = frozenset("0123456789abcdef")
_CLIENT, _INTERNAL = 3, 1
_LISTS: Final = ("messages", "history")


def otlp(trace: TraceResult) -> str:
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
                "scopeSpans": [{"scope": {"name": "flow_xray", "version": "0.7.0"}, "spans": spans}],
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
        "attributes": _attributes(_told(span)),
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


def _told(span: Span) -> dict[str, Any]:
    meta = dict(span.meta)
    told: dict[str, Any] = {names.OWN_KIND: span.kind}
    operation = names.OPERATION_OF_KIND.get(span.kind)
    if operation is not None:
        told[names.OPERATION] = operation
    model = meta.pop("model", None)
    if isinstance(model, str):
        told[names.MODEL[1]] = told[names.MODEL[0]] = model
    elif model is not None:
        meta["model"] = model
    for key, keys in names.COUNTS.items():
        if type(meta.get(key)) is int:
            told[keys[0]] = meta.pop(key)
    cost = meta.get("cost_usd")
    if isinstance(cost, int | float) and not isinstance(cost, bool):
        told[names.OWN_COST] = told[names.OPENINFERENCE_COST] = float(cost)
        del meta["cost_usd"]
    for key, name in names.WRITTEN_FACTS.items():
        if isinstance(meta.get(key), str | int | float):
            told[name] = meta.pop(key)
    first = meta.get("time_to_first_item_ms")
    if isinstance(first, int | float) and span.kind == "llm":
        told[names.FIRST_CHUNK_S[0]] = float(first) / 1000
    _put_values(span, meta, told)
    if span.thread:
        told[names.THREAD] = span.thread
    if span.code:
        file, _, line = span.code.rpartition(":")
        told[names.CODE_FILE] = file or span.code
        told[names.CODE_LINE] = int(line) if file and line.isdigit() else None
    if span.status not in ("ok", "error"):
        told[names.OWN_STATUS] = span.status
    if span.error is not None:
        told[names.ERROR_TYPE] = span.error.get("type")
        if "origin" in span.error:
            told[names.OWN_ORIGIN] = span.error["origin"]
    attributes = meta.pop("attributes", None)
    if isinstance(attributes, dict):  # those of a span that came from OpenTelemetry, back as they were
        told = {
            **{
                key: value if isinstance(value, str | int | float) else _json(value)
                for key, value in attributes.items()
            },
            **told,
        }
    if meta:
        told[names.OWN_META] = _json(meta)
    return told


def _put_values(span: Span, meta: dict[str, Json], told: dict[str, Any]) -> None:
    if span.kind == "tool":
        told[names.TOOL_NAME] = span.name
        told.update({names.TOOL_ARGUMENTS: _plain(span.input), names.TOOL_RESULT: _plain(span.output)})
        return
    rest = span.input
    output = span.output
    if span.kind == "llm":
        messages, rest = _messages(meta.get("messages"), span.input)
        if messages is not None:
            told[names.INPUT_MESSAGES] = _json(messages)
            meta.pop("messages", None)
        answers = [written_message(each, "assistant") for each in (output if isinstance(output, list) else [output])]
        if answers and all(answer is not None for answer in answers):
            told[names.OUTPUT_MESSAGES] = _json(answers)
            output = None
    told.update({names.INPUT_VALUE: _plain(rest), names.OUTPUT_VALUE: _plain(output)})
    if isinstance(rest, dict | list):
        told[names.INPUT_TYPE] = names.JSON_TYPE
    if isinstance(output, dict | list):
        told[names.OUTPUT_TYPE] = names.JSON_TYPE


def _messages(known: Json, given: Json) -> tuple[list[Json] | None, Json]:
    """Return the messages of a model call as they are written, and what of its input is left beside them."""
    if (found := _written(known)) is not None:
        return found, given
    if (found := _written(given)) is not None:
        return found, None
    if isinstance(given, dict):
        for key in _LISTS:
            if (found := _written(given.get(key))) is not None:
                return found, {name: value for name, value in given.items() if name != key} or None
    return None, given


def _written(value: Json) -> list[Json] | None:
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
    told = {key: value for key, value in values.items() if key not in ("name", "at_ns")}
    return {"name": name, "timeUnixNano": str(at), "attributes": _attributes(told)}


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
    """Return a scalar as it is, and everything else as one JSON text."""
    return _json(value) if isinstance(value, dict | list) else value


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _hex_id(text: str, digits: int) -> str:
    """Return an id that OpenTelemetry takes: itself, or a hash of it when it is no such thing."""
    if len(text) == digits and _HEX.issuperset(text) and set(text) != {"0"}:
        return text
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=digits // 2).hexdigest()
