"""A finished (or read, or hand-made) trace: its spans and what can be made of them."""

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flow_xray._errors import TraceOutputError
from flow_xray._freeze import freeze
from flow_xray._model import Json, Span, Status
from flow_xray._redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from flow_xray._analyze import Finding, Rule
    from flow_xray._diff import TraceDiff


@dataclass(slots=True)
class TraceResult:
    """Hold the spans of one trace.

    Args:
        name: title of the trace.
        spans: in any order; the tree is in `Span.parent_id`. A span whose parent is not here is a root.
        value: JSON of what the traced call returned.
        meta: JSON facts about the whole trace (run_id, status, ...).
        trace_id: 32 hex digits; made when not given.
        is_frozen: the spans came from a session or a file: values are JSON and redacted already. Spans that you
            make yourself pass the freezer and the built-in redaction when the trace is written.
    """

    name: str = "trace"
    spans: list[Span] = field(default_factory=list)
    value: object = None
    meta: dict[str, Json] = field(default_factory=dict)
    trace_id: str = field(default_factory=lambda: os.urandom(16).hex())
    is_frozen: bool = field(default=False, repr=False)

    @property
    def roots(self) -> list[Span]:
        """The spans that no span of this trace called, in order of their start."""
        ids = {span.id for span in self.spans}
        return sorted((span for span in self.spans if span.parent_id not in ids), key=lambda span: span.started_at_ns)

    @property
    def status(self) -> Status:
        """The worst status of the roots: interrupted (also a journal without its end), open, error, cancelled, ok."""
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

    @staticmethod
    def of(error: BaseException) -> "TraceResult":
        """Return the trace of the `trace.run` or `trace.arun` that raised `error`.

        Raises:
            LookupError: no such run raised this exception.
        """
        result = getattr(error, "__xray__", None)
        if not isinstance(result, TraceResult):
            raise LookupError(  # noqa: TRY004  the exception is of the right type, its trace is missing
                f"cannot give a trace of {type(error).__name__}: because no trace.run() raised it. "
                "Use trace.capture() and session.result() around other code."
            )
        return result

    def find(self, name: str) -> "Iterator[Span]":
        """Yield the spans with this name, in the order of the trace."""
        return (span for span in self.spans if span.name == name)

    def frozen(self) -> "TraceResult":
        """Return this trace with every value as bounded, redacted JSON; itself when it is so already."""
        if self.is_frozen:
            return self
        redactor = Redactor()
        frozen = _frozen(self, redactor)
        # A secret may turn up under its key only after it was in a text; now all of them are known.
        return _frozen(frozen, redactor) if redactor.known else frozen

    def priced(self, prices: "str | os.PathLike[str] | None" = None) -> "TraceResult":
        """Return this trace with `cost_usd` in every model call whose price is known; the others stay unpriced.

        What the program recorded wins. Otherwise the price file counts, then `genai-prices` (extra `[prices]`) with
        the price at the time of the call. Every written form is priced this way; call it yourself to give a price file.

        Args:
            prices: a JSON file, in USD for a million tokens: {"models": {NAME: {"input": 3, "output": 15, "cache_read":
                0.3, "cache_write": 3.75}}}; NAME may end with `*`.

        Raises:
            TraceFormatError: the price file cannot be read.
        """
        frozen = self.frozen()
        if prices is None and not any(
            ("input_tokens" in span.meta or "output_tokens" in span.meta)
            and "cost_usd" not in span.meta
            and "model" in span.meta
            for span in frozen.spans
        ):
            return frozen
        from flow_xray._prices import priced

        return priced(frozen, prices)

    def diff(self, other: "TraceResult", *, ignore: "Collection[str]" = ()) -> "TraceDiff":
        """Compare this trace with a later one; the difference is true when a call came, went, moved or changed.

        Calls are aligned, so that an inserted one shifts nothing. Times, token counts, cost, ids and temporary paths
        are no change; they are left out of the comparison and stay as they are in both traces.

        Args:
            other: the trace that came after.
            ignore: names of members that do not count, at any depth; also "input", "output", "error", "status", "meta".
        """
        from flow_xray._diff import diff

        return diff(self, other, ignore)

    def analyze(self, rules: "Iterable[Rule]" = ()) -> "tuple[Finding, ...]":
        """Return what is likely wrong: errors, slow and repeated calls, calls after the budget, counts that differ.

        Args:
            rules: callables of yours that take the `SpanTree` and return findings or texts.
        """
        from flow_xray._analyze import analyze

        return analyze(self, rules)

    def to_json(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return the trace as JSON text (docs: the format `flow-xray/1`), and write it to `path` if one is given.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._trace_json import dump

        return _written(dump(self.priced()), path)

    @staticmethod
    def from_json(text: "str | bytes") -> "TraceResult":
        """Read what `to_json` wrote.

        Raises:
            TraceFormatError: the text is not a trace, or was written by a newer flow-xray.
        """
        from flow_xray._trace_json import load

        return load(text)

    def to_html(
        self, path: "str | os.PathLike[str] | None" = None, *, source: "Iterable[str | os.PathLike[str]]" = ()
    ) -> str:
        """Return the trace as one offline HTML page, and write it to `path` if one is given.

        The page needs no server and no network; it is one file that may be sent to somebody.

        Args:
            path: where it goes.
            source: files or folders of the program's source; the graph then also shows what could have run, and the
                branches that were not taken. Nothing of the source is run.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._page import build_page

        priced = self.priced()
        context = None
        if sources := [source] if isinstance(source, str) else [os.fspath(each) for each in source]:
            from flow_xray._context import context_of

            context = context_of(priced, sources).as_json()
        page = build_page(priced, context)
        if path is not None:
            write_whole(path, page.encode("utf-8"))
        return page

    def to_chrome(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return Chrome trace events, which Perfetto and DevTools open, and write them to `path` if one is given.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._export import chrome

        return _written(chrome(self.priced()), path)

    def to_speedscope(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return a speedscope file (a flame graph of the lanes), and write it to `path` if one is given.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._export import speedscope

        return _written(speedscope(self.priced()), path)

    def to_otlp(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return OTLP/JSON, which OpenTelemetry backends take, and write it to `path` if one is given.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._otlp_write import otlp

        return _written(otlp(self.priced()), path)

    def to_dot(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return a Graphviz graph of who called whom, folded by function, and write it to `path` if one is given.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._dot import dot

        return _written(dot(self.frozen()), path)


def _frozen(trace: TraceResult, redactor: Redactor) -> TraceResult:
    def thing(value: Json) -> dict[str, Json]:
        kept = freeze(value, redactor)
        return kept if isinstance(kept, dict) else {}

    text = redactor.text
    spans = []
    for span in trace.spans:
        given = freeze(span.input, redactor)  # first, so that a secret argument is known when the error text comes
        spans.append(
            replace(
                span,
                name=text(str(span.name)),
                kind=text(str(span.kind)),
                thread=text(str(span.thread)),
                input=given,
                output=freeze(span.output, redactor),
                error=None if span.error is None else thing(span.error),
                meta=thing(span.meta),
                tags=[thing(tag) for tag in span.tags],
            )
        )
    value = freeze(trace.value, redactor)
    return replace(trace, name=text(trace.name), spans=spans, value=value, meta=thing(trace.meta), is_frozen=True)


def _written(text: str, path: "str | os.PathLike[str] | None") -> str:
    if path is not None:
        write_whole(path, text.encode("utf-8"))
    return text


def write_whole(path: "str | os.PathLike[str]", content: bytes) -> None:
    """Write a file so that it is there whole or not at all; what is no file (`/dev/stdout`, a pipe) is only written to.

    Raises:
        TraceOutputError: it cannot be written.
    """
    target = os.fspath(path)
    kept = os.path.realpath(target)  # a link stays a link
    partial = f"{kept}.{os.getpid()}.partial"
    try:
        if os.path.isdir(target):  # noqa: PTH112  pathlib costs 9 ms at import
            raise IsADirectoryError(21, "it is a folder", target)
        if os.path.exists(kept) and not os.path.isfile(kept):  # noqa: PTH110,PTH113  as above
            with open(kept, "wb") as stream:  # noqa: PTH123  as above
                stream.write(content)
            return
        with open(partial, "wb") as stream:  # noqa: PTH123  as above
            stream.write(content)
        os.replace(partial, kept)  # noqa: PTH105  as above
    except OSError as error:
        with suppress(OSError):
            os.unlink(partial)  # noqa: PTH108  as above
        raise TraceOutputError(
            f"cannot write {target!r}: because {error.strerror or error}. Give a path in a folder that can be written."
        ) from error
