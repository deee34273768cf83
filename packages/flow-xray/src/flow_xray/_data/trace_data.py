"""A trace as plain data: what recorders and readers produce, and what writers consume."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

from flow_xray._data.span import Json, Span, Status
from flow_xray._redaction.freeze import freeze
from flow_xray._redaction.redactor import Redactor

_Trace = TypeVar("_Trace", bound="TraceData")


@dataclass(slots=True)
class TraceData:
    """Hold the spans of one trace and the facts about it; see `TraceResult` for the members."""

    name: str = "trace"
    spans: list[Span] = field(default_factory=list)
    value: object = None
    meta: dict[str, Json] = field(default_factory=dict)
    trace_id: str = field(default_factory=lambda: os.urandom(16).hex())
    is_frozen: bool = field(default=False, repr=False)

    @property
    def roots(self) -> list[Span]:
        """The spans without a caller in this trace, in order of their start."""
        ids = {span.id for span in self.spans}
        return sorted((span for span in self.spans if span.parent_id not in ids), key=lambda span: span.started_at_ns)

    @property
    def status(self) -> Status:
        """The worst status of the roots: interrupted, open, error, cancelled, ok.

        A journal without its last record is interrupted.
        """
        found = {span.status for span in self.roots}
        journal = self.meta.get("journal")
        if isinstance(journal, dict) and journal.get("is_complete") is False:
            return "interrupted"
        order: tuple[Status, ...] = ("interrupted", "open", "error", "cancelled")
        return next((status for status in order if status in found), "ok")

    @property
    def error(self) -> dict[str, Json] | None:
        """The error of the first root that failed, or None."""
        return next((span.error for span in self.roots if span.error is not None), None)

    def find(self, name: str) -> Iterator[Span]:
        """Yield the spans with this name, in the order of the trace."""
        return (span for span in self.spans if span.name == name)

    def frozen(self) -> Self:
        """Return this trace with every value as bounded, redacted JSON; itself if it is frozen."""
        if self.is_frozen:
            return self
        redactor = Redactor()
        frozen = _frozen(self, redactor)
        # A text may hold a secret that is only later seen under its key; now all of them are known.
        return _frozen(frozen, redactor) if redactor.known else frozen


def _frozen(trace: _Trace, redactor: Redactor) -> _Trace:
    def frozen_object(value: Json) -> dict[str, Json]:
        frozen = freeze(value, redactor)
        return frozen if isinstance(frozen, dict) else {}

    text = redactor.text
    spans = []
    for span in trace.spans:
        # The input first: a secret argument must be known when the text of the error is looked at.
        given = freeze(span.input, redactor)
        spans.append(
            replace(
                span,
                name=text(str(span.name)),
                kind=text(str(span.kind)),
                thread=text(str(span.thread)),
                input=given,
                output=freeze(span.output, redactor),
                error=None if span.error is None else frozen_object(span.error),
                meta=frozen_object(span.meta),
                tags=[frozen_object(tag) for tag in span.tags],
            )
        )
    value = freeze(trace.value, redactor)
    meta = frozen_object(trace.meta)
    return replace(trace, name=text(trace.name), spans=spans, value=value, meta=meta, is_frozen=True)
