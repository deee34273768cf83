"""Record OpenTelemetry spans: those of pydantic-ai, OpenInference, Logfire, or custom ones.

    from flow_xray.otel import XraySpanProcessor

    provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=1_000))
    provider.add_span_processor(XraySpanProcessor())

`XraySpanProcessor()` records a span in the session that is open where the span starts;
`XraySpanProcessor(journal="run.xray")` records in a separate session, until `shutdown()`.

Needs the extra `[otel]`. A span is written to disk when it starts and when it ends, so a killed
process leaves its open spans, too. Spans of both kinds make one tree: a traced function that runs
inside an OpenTelemetry span is its child, and vice versa. The session's redaction and limits apply.

The SDK keeps 128 attributes of a span and drops the oldest. Instrumentations that write one
attribute for each part of each message (OpenInference, Traceloop) need higher limits, as above.
"""

import warnings
from dataclasses import dataclass
from threading import current_thread
from typing import TYPE_CHECKING, Final

from flow_xray._data.span import Span
from flow_xray._otel.attributes import Event, fill, separate_sum
from flow_xray._record.session import Session, current_position, open_journal
from flow_xray._redaction.freeze import DEFAULT_LIMITS, Limits
from flow_xray._redaction.redactor import Redactor, Rules
from flow_xray._result import TraceResult

try:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import StatusCode, get_current_span
except ImportError as error:
    raise ImportError(
        "cannot use flow_xray.otel: because opentelemetry-sdk is not installed. Install flow-xray[otel]."
    ) from error

if TYPE_CHECKING:
    import os

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace import Span as SdkSpan

__all__ = ["XraySpanProcessor"]

_MAX_ENDED: Final = 10_000  # spans that have ended and may still get children


@dataclass(slots=True)
class _Entry:
    """The span for an OpenTelemetry span, its session, and the innermost traced call around it."""

    span: Span
    session: Session
    above: Span | None
    is_open: bool = True
    has_counts_below: bool = False


class XraySpanProcessor(SpanProcessor):
    """Record OpenTelemetry spans in a session of flow-xray.

    Args:
        session: Records the spans that start where no session is open; without it they are not
            recorded.
        journal: Opens a separate session that appends to this `.xray` file; `shutdown()` closes
            it.
        name: Title of that session.
        redact: Its rules, in addition to the built-in ones.
        limits: How much of a value it records.

    Raises:
        TraceOutputError: The journal cannot be opened. Later the processor never raises into the
            program.
    """

    def __init__(
        self,
        session: Session | None = None,
        *,
        journal: "str | os.PathLike[str] | None" = None,
        name: str = "trace",
        redact: Rules = (),
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if session is not None and journal is not None:
            raise TypeError("cannot record twice: because a session and a journal were given. Give one of them.")
        self._own: Session | None = None
        if journal is not None:
            session = self._own = Session(name, redactor=Redactor(redact), limits=limits, journal=open_journal(journal))
        self._session = session
        self._entries: dict[str, _Entry] = {}
        self._is_warned = False

    def on_start(self, span: "SdkSpan", parent_context: "Context | None" = None) -> None:  # noqa: ARG002  as the interface names it
        """Record that a span began."""
        try:
            self._start(span)
        except Exception as error:  # noqa: BLE001  the instrumented program must continue
            self._warn(error)

    def on_end(self, span: "ReadableSpan") -> None:
        """Record how a span ended, with its attributes and events."""
        try:
            self._end(span)
        except Exception as error:  # noqa: BLE001  as above
            self._warn(error)

    def shutdown(self) -> None:
        """Close the session that `journal=` opened."""
        if self._own is not None:
            self._own.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  the name is the interface's
        """Return True: every record is written at once."""
        return True

    def result(self) -> TraceResult:
        """Return the trace of the session of this processor so far.

        Raises:
            LookupError: It has no session; use the session that is open around the spans.
        """
        if self._session is None:
            raise LookupError(
                "cannot give a trace: because this processor has no session. Use the session of trace.capture()."
            )
        return self._session.result()

    # ------------------------------------------------------------------ starts and ends

    def _start(self, otel: "SdkSpan | ReadableSpan") -> None:
        context = otel.get_span_context()
        position = current_position.get()
        session, above = position if position is not None and not position[0].closed else (self._session, None)
        if session is None or session.closed or context is None or not context.is_valid:
            return
        if session.foreign_caller is None:
            session.foreign_caller = self._caller
        span_id = f"{context.span_id:016x}"
        span = Span(
            span_id,
            self._parent_of(otel, session, above),
            otel.name,
            started_at_ns=otel.start_time or session.now_ns(),
            status="open",
            thread=current_thread().name,
        )
        fill(span, dict(otel.attributes or {}))
        span.status = "open"
        meta, span.meta = span.meta, {}
        self._freeze(span, session)
        self._entries[span_id] = _Entry(span, session, above)
        session.adopt_span(span)
        if meta:
            session.add_meta(span, meta)
        self._forget()

    def _end(self, otel: "ReadableSpan") -> None:
        context = otel.get_span_context()
        if context is None:
            return
        span_id = f"{context.span_id:016x}"
        if span_id not in self._entries:
            self._start(otel)  # it started before this processor was added
        entry = self._entries.get(span_id)
        if entry is None or entry.session.closed:
            return
        span, session, thread = entry.span, entry.session, entry.span.thread
        entry.is_open = False
        span.name = otel.name
        start, end = otel.start_time or span.started_at_ns, otel.end_time or session.now_ns()
        span.duration_ns = max(0, end - start)
        events = [Event(event.name, event.timestamp, dict(event.attributes or {})) for event in otel.events]
        is_error = otel.status.status_code is StatusCode.ERROR
        fill(span, dict(otel.attributes or {}), events, is_error=is_error, message=otel.status.description or "")
        span.thread = span.thread or thread
        if otel.dropped_attributes:
            span.meta["dropped_attributes"] = otel.dropped_attributes
        if span.kind != "llm" and entry.has_counts_below:
            separate_sum(span)
        if "input_tokens" in span.meta:
            self._mark_above(span)
        self._freeze(span, session)
        session.finish_adopted(span)

    def _parent_of(self, otel: "SdkSpan | ReadableSpan", session: Session, above: Span | None) -> str | None:
        """Return the id of the parent: OpenTelemetry's, or the traced call between."""
        parent = otel.parent
        if parent is not None:
            parent_id = f"{parent.span_id:016x}"
            entry = self._entries.get(parent_id)
            if above is None or (entry is not None and entry.session is session and entry.above is above):
                return parent_id
        return above.id if above is not None else session.outer_id()

    def _caller(self, above: Span | None) -> str | None:
        """Return the id of the current OpenTelemetry span if it is inside the call `above`."""
        context = get_current_span().get_span_context()
        if not context.is_valid:
            return None
        entry = self._entries.get(f"{context.span_id:016x}")
        return entry.span.id if entry is not None and entry.is_open and entry.above is above else None

    def _mark_above(self, span: Span) -> None:
        """Mark the spans around one as containing its tokens."""
        entry = self._entries.get(span.parent_id or "")
        while entry is not None and not entry.has_counts_below:
            entry.has_counts_below = True
            entry = self._entries.get(entry.span.parent_id or "")

    def _forget(self) -> None:
        """Drop the oldest ended spans when there are too many."""
        if len(self._entries) <= 2 * _MAX_ENDED:
            return
        ended = [key for key, entry in list(self._entries.items()) if not entry.is_open]
        for key in ended[:_MAX_ENDED]:
            self._entries.pop(key, None)

    def _freeze(self, span: Span, session: Session) -> None:
        name = session.freeze(span.name)
        span.name = name if isinstance(name, str) else "span"
        span.input = session.freeze(span.input)
        span.output = session.freeze(span.output)
        span.error = None if span.error is None else session.freeze_object(span.error)
        span.meta = session.freeze_object(span.meta)
        span.tags = [session.freeze_object(tag) for tag in span.tags]

    def _warn(self, error: Exception) -> None:
        if not self._is_warned:
            self._is_warned = True
            warnings.warn(
                f"flow-xray: cannot record an OpenTelemetry span: {type(error).__name__}: {error}. "
                "Recording continues.",
                RuntimeWarning,
                stacklevel=4,
            )
