"""Convert the attributes and events of an OpenTelemetry span into the members of a `Span`.

The result is the same for every instrumentation: a kind, an input with messages, an output, tokens
counted the same way, cost. An unknown attribute stays in `meta["attributes"]`; one with truncated
JSON stays as text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flow_xray._data.span import STATUSES, Span, Status
from flow_xray._otel import names
from flow_xray._otel.messages import decoded, event_message, flat_messages, messages_of, unflattened, with_tool_names
from flow_xray._usage.counts import inclusive


@dataclass(slots=True)
class Event:
    """A mark in time inside an OpenTelemetry span."""

    name: str
    at_ns: int
    attributes: dict[str, Any] = field(default_factory=dict)


class _Attributes:
    """The attributes of one span, and which of them have been used."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.used: set[str] = set(names.IGNORED)

    def first(self, *keys: str) -> Any:
        """Return the first of these attributes that is present; all of them count as used."""
        found = None
        for key in keys:
            if key in self.given:
                self.used.add(key)
                if found is None:
                    found = self.given[key]
        return found

    def flat(self, prefix: str) -> Mapping[str, Any]:
        """Return the attributes below a prefix; they count as used."""
        below = {key: value for key, value in self.given.items() if key.startswith(prefix + ".")}
        self.used.update(below)
        return below

    def rest(self) -> dict[str, Any]:
        """Return the attributes that have not been used."""
        return {key: decoded(value) for key, value in self.given.items() if key not in self.used}


def fill(
    span: Span, given: Mapping[str, Any], events: Sequence[Event] = (), *, is_error: bool = False, message: str = ""
) -> None:
    """Set the members of a span from OpenTelemetry attributes; they are not frozen yet.

    Args:
        span: A span with its id, name and times.
        given: The attributes.
        events: The events inside the span, in order.
        is_error: The status code is an error.
        message: The description of the status.
    """
    attributes = _Attributes(given)
    messages = [each for event in events if (each := event_message(event.name, event.attributes)) is not None]
    for event in events:
        if event.name == names.DETAILS_EVENT:
            attributes.given = {**event.attributes, **attributes.given}
    meta: dict[str, Any] = {}
    model = attributes.first(*names.MODEL)
    if isinstance(model, str) and model:
        meta["model"] = model
    counts = _counts(attributes)
    span.kind = _kind(attributes, has_usage=bool(counts) and "model" in meta)
    meta.update(counts)
    cost = attributes.first(*names.COST)
    if isinstance(cost, int | float) and not isinstance(cost, bool):
        meta["cost_usd"] = cost
    for key, keys in names.FACTS.items():
        value = decoded(attributes.first(*keys))
        if value is not None:
            meta[key] = value
    first_chunk = attributes.first(*names.FIRST_CHUNK_S)
    if isinstance(first_chunk, int | float):
        meta["time_to_first_item_ms"] = round(first_chunk * 1000, 3)
    tools = unflattened(attributes.flat(names.FLAT_TOOLS), names.FLAT_TOOLS)
    if tools:
        meta["tools"] = [decoded(_inner(tool, "tool", "json_schema")) for tool in tools]
    _set_values(span, attributes, messages, meta)
    thread = attributes.first(names.THREAD)
    if isinstance(thread, str):
        span.thread = thread
    file, line = attributes.first(names.CODE_FILE, "code.filepath"), attributes.first(names.CODE_LINE, "code.lineno")
    if isinstance(file, str):
        span.code = f"{file}:{line}" if isinstance(line, int) else file
    own = decoded(attributes.first(names.OWN_META))
    if isinstance(own, dict):
        meta.update(own)
    tool_name = attributes.first(names.TOOL_NAME, "tool.name", "ai.toolCall.name")
    if isinstance(tool_name, str) and tool_name not in span.name:
        meta["tool"] = tool_name
    elif isinstance(tool_name, str) and span.kind == "tool":
        span.name = tool_name  # "execute_tool search", "running tool": the kind shows that it is a tool
    _set_end(span, attributes, events, is_error=is_error, message=message)
    span.tags = [
        {"name": event.name, "at_ns": event.at_ns, **{key: decoded(value) for key, value in event.attributes.items()}}
        for event in events
        if event.name not in (names.EXCEPTION, names.DETAILS_EVENT) and event.name not in names.MESSAGE_EVENT
    ]
    rest = attributes.rest()
    if rest:
        meta["attributes"] = rest
    span.meta = meta


def _kind(attributes: _Attributes, *, has_usage: bool) -> str:
    own = attributes.first(names.OWN_KIND)
    operation = attributes.first(names.OPERATION)
    values = [attributes.first(name) for name in names.KIND_NAMES]
    if isinstance(own, str):
        return own
    if operation in names.KIND_OF_OPERATION:
        return names.KIND_OF_OPERATION[operation]
    for value in values:
        if isinstance(value, str) and value.lower() in names.KIND_OF_VALUE:
            return names.KIND_OF_VALUE[value.lower()]
    return "llm" if has_usage else "function"


def _counts(attributes: _Attributes) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for key, keys in names.COUNTS.items():
        value = attributes.first(*keys)
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            counts[key] = value
    found: dict[str, Any] = inclusive(counts)
    sums = attributes.flat(names.OWN_SUM[:-1])
    reported = {
        key: value
        for key, keys in names.COUNTS.items()
        if (value := sums.get(keys[0].replace("gen_ai.usage.", names.OWN_SUM))) is not None
    }
    if reported:
        found["reported_usage"] = reported
    return found


def _set_values(span: Span, attributes: _Attributes, messages: list[dict[str, Any]], meta: dict[str, Any]) -> None:
    """Set input and output: messages where there are any, else the plain values."""
    given = messages_of(attributes.first(*names.MESSAGES_IN))
    answered = messages_of(attributes.first(*names.MESSAGES_OUT))
    for prefix in names.FLAT_MESSAGES_IN:
        given = given or flat_messages(attributes.flat(prefix), prefix)
        attributes.flat(prefix)
    for prefix in names.FLAT_MESSAGES_OUT:
        answered = answered or flat_messages(attributes.flat(prefix), prefix)
        attributes.flat(prefix)
    listed = decoded(attributes.first(names.EVENT_LIST))
    if isinstance(listed, list):
        messages = messages + [
            each
            for item in listed
            if isinstance(item, dict) and (each := event_message(str(item.get("event.name")), item)) is not None
        ]
    if messages and not given and not answered:
        is_answer = messages[-1]["role"] == "assistant"
        given, answered = (messages[:-1], messages[-1:]) if is_answer else (messages, [])
    system = decoded(attributes.first(names.SYSTEM))
    if system:
        parts = system if isinstance(system, list) else [{"type": "text", "content": str(system)}]
        given = [{"role": "system", "parts": parts}, *given]
    conversation = messages_of(attributes.first(*names.CONVERSATION))
    if conversation:
        meta["messages"] = conversation
    plain_in, plain_out = decoded(attributes.first(*names.INPUTS)), decoded(attributes.first(*names.OUTPUTS))
    attributes.first(names.INPUT_TYPE, names.OUTPUT_TYPE)
    documents = unflattened(attributes.flat(names.FLAT_DOCUMENTS), names.FLAT_DOCUMENTS)
    span.input = {"messages": with_tool_names(given)} if given else plain_in
    span.output = (answered[0] if len(answered) == 1 else answered) if answered else plain_out
    if documents:
        span.output = [_inner(each, "document") for each in documents]


def _inner(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key, value) if isinstance(value, dict) else value
    return value


def _set_end(span: Span, attributes: _Attributes, events: Sequence[Event], *, is_error: bool, message: str) -> None:
    raised = next((event.attributes for event in reversed(events) if event.name == names.EXCEPTION), None)
    kind = attributes.first(names.ERROR_TYPE)
    origin = attributes.first(names.OWN_ORIGIN)
    status = attributes.first(names.OWN_STATUS)
    if is_error or (raised is not None and status in ("error", "cancelled")):
        raised = raised or {}
        span.error = {
            "type": str(raised.get(names.EXCEPTION_TYPE) or kind or "error"),
            "message": str(raised.get(names.EXCEPTION_MESSAGE) or message),
            "traceback": str(raised.get(names.EXCEPTION_STACK) or ""),
        }
        if isinstance(origin, str):
            span.error["origin"] = origin
    derived: Status = "interrupted" if span.duration_ns is None else "error" if is_error else "ok"
    span.status = status if status in STATUSES else derived
    if span.status in ("open", "interrupted"):
        span.duration_ns = None


def separate_sums(spans: list[Span]) -> None:
    """Move sums that an agent reports for model calls below it, so that nothing counts twice."""
    parents = {span.id: span.parent_id for span in spans}
    above: set[str] = set()
    for span in spans:
        if span.kind in ("llm", "embedding") and "input_tokens" in span.meta:
            parent = span.parent_id
            while parent is not None and parent not in above:
                above.add(parent)
                parent = parents.get(parent)
    for span in spans:
        if span.kind != "llm" and span.id in above:
            separate_sum(span)


def separate_sum(span: Span) -> None:
    """Move the counts and the cost of a span into `meta["reported_usage"]`."""
    moved = {key: span.meta.pop(key) for key in (*names.COUNTS, "cost_usd") if key in span.meta}
    if moved:
        span.meta.setdefault("reported_usage", moved)
