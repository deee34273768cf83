"""`TraceResult`: a trace and its operations, which are implemented in these folders.

    _data, _redaction    the trace itself: spans, frozen values
    _read                from_json, read_journal
    _usage               priced
    _write               to_html, to_json, to_otlp, to_chrome, to_speedscope, to_dot
    _analysis, _compare  analyze, diff
    _source              to_html(source=...)

Each method loads the module behind it when it is called: recording needs none of them.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from flow_xray._data.trace_data import TraceData

if TYPE_CHECKING:
    from flow_xray._analysis.findings import Finding, Rule
    from flow_xray._compare.diff import TraceDiff


class TraceResult(TraceData):
    """Hold the spans of one trace, and write, compare and analyse them.

    Args:
        name: Title of the trace.
        spans: The spans in any order; `Span.parent_id` makes them a tree. A span whose parent is
            missing is a root.
        value: The return value of the traced call, as JSON.
        meta: JSON facts about the whole trace (run_id, status, ...).
        trace_id: 32 hex digits; random when not given.
        is_frozen: The values are already redacted JSON, like those of a session or a file.
            Spans that you construct yourself are frozen and redacted when the trace is written.
    """

    __slots__ = ()

    @staticmethod
    def of(error: BaseException) -> "TraceResult":
        """Return the trace of the `trace.run` or `trace.arun` that raised `error`.

        Raises:
            LookupError: No such run raised this exception.
        """
        result = getattr(error, "__xray__", None)
        if not isinstance(result, TraceResult):
            raise LookupError(  # noqa: TRY004  the exception is of the right type, its trace is missing
                f"cannot give a trace of {type(error).__name__}: because no trace.run() raised it. "
                "Use trace.capture() and session.result() around other code."
            )
        return result

    def priced(self, prices: "str | os.PathLike[str] | None" = None) -> "TraceResult":
        """Return this trace with `cost_usd` in every model call whose price is known.

        A cost that the program recorded is kept. Otherwise the price comes from the price file,
        then from `genai-prices` (extra `[prices]`) at the time of the call; without a price, the
        call stays unpriced. Every written form is priced this way; call this method to use a price
        file.

        Args:
            prices: A JSON file, in USD for a million tokens: {"models": {NAME: {"input": 3,
                "output": 15, "cache_read": 0.3, "cache_write": 3.75}}}; NAME may end with `*`.

        Raises:
            TraceFormatError: The price file cannot be read.
        """
        frozen = self.frozen()
        if prices is None and not any(
            ("input_tokens" in span.meta or "output_tokens" in span.meta)
            and "cost_usd" not in span.meta
            and "model" in span.meta
            for span in frozen.spans
        ):
            return frozen
        from flow_xray._usage.prices import priced

        return priced(frozen, prices)

    def diff(self, other: "TraceResult", *, ignore: Collection[str] = ()) -> "TraceDiff":
        """Compare this trace with a later one.

        The difference is true when a call was added, removed, moved or changed. Calls are aligned,
        so an inserted one shifts nothing. Times, token counts, cost, ids and temporary paths are
        not compared; both traces keep them.

        Args:
            other: The later trace.
            ignore: Names of members to leave out, at any depth; also "input", "output", "error",
                "status", "meta".
        """
        from flow_xray._compare.diff import diff

        return diff(self, other, ignore)

    def analyze(self, rules: "Iterable[Rule]" = ()) -> "tuple[Finding, ...]":
        """Return likely problems.

        These are errors, slow and repeated calls, calls after the budget was used up, token counts
        that differ.

        Args:
            rules: Custom rules: callables that take the `SpanTree` and return findings or texts.
        """
        from flow_xray._analysis.findings import analyze

        return analyze(self, rules)

    def to_json(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return the trace as JSON text in the format `flow-xray/1`.

        Args:
            path: The file to write the text to; None for none.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._write.trace_file import dump

        return _written(dump(self.priced()), path)

    @staticmethod
    def from_json(text: "str | bytes") -> "TraceResult":
        """Read the text that `to_json` returned.

        Raises:
            TraceFormatError: The text is not a trace, or a newer flow-xray wrote it.
        """
        from flow_xray._read.trace_file import load

        return result_of(load(text))

    def to_html(
        self,
        path: "str | os.PathLike[str] | None" = None,
        *,
        source: "Iterable[str | os.PathLike[str]]" = (),
    ) -> str:
        """Return the trace as one offline HTML page.

        The page is one file that needs no server and no network.

        Args:
            path: The file to write the page to; None for none.
            source: Files or folders of the program's source. The graph then also shows what could
                have run and which branches were not taken. Nothing of the source is executed.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._write.page.document import build_page

        priced = self.priced()
        context = None
        if sources := [source] if isinstance(source, str) else [os.fspath(each) for each in source]:
            from flow_xray._source.coverage import coverage_of

            context = coverage_of(priced, sources).as_json()
        return _written(build_page(priced, context), path)

    def to_chrome(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return Chrome trace events, which Perfetto and DevTools open.

        Args:
            path: The file to write the text to; None for none.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._write.chrome import chrome

        return _written(chrome(self.priced()), path)

    def to_speedscope(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return a speedscope file: a flame graph of each lane.

        Args:
            path: The file to write the text to; None for none.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._write.speedscope import speedscope

        return _written(speedscope(self.priced()), path)

    def to_otlp(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return OTLP/JSON, which OpenTelemetry backends accept.

        Args:
            path: The file to write the text to; None for none.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._write.otlp import otlp

        return _written(otlp(self.priced()), path)

    def to_dot(self, path: "str | os.PathLike[str] | None" = None) -> str:
        """Return a Graphviz graph of who called whom, folded by function.

        Args:
            path: The file to write the text to; None for none.

        Raises:
            TraceOutputError: `path` cannot be written.
        """
        from flow_xray._write.dot import dot

        return _written(dot(self.frozen()), path)


def read_journal(*paths: "str | os.PathLike[str]") -> TraceResult:
    """Return the trace that a journal holds so far; the file may still be written to.

    Several journals are joined into one trace: those of a process and of the processes that it
    started with `trace.environment()`. `result.meta["journal"]` has the number of sessions, of
    processes and of damaged records, and whether the journal is complete.

    Raises:
        TraceFormatError: A file cannot be read, is not a journal, or a newer flow-xray wrote it.
    """
    from flow_xray._read.journal import read_journals

    return result_of(read_journals([os.fspath(path) for path in paths]))


def read_trace_files(paths: Sequence[str], *, is_partial_fine: bool = False) -> TraceResult:
    """Return the trace in files of any known format; several are joined into one trace.

    Args:
        paths: The paths of the files.
        is_partial_fine: Read the intact part of a damaged trace file; `meta["notes"]` describes the
            rest.

    Raises:
        TraceFormatError: A file cannot be read, or its format is unknown.
    """
    from flow_xray._read.files import read_files

    return result_of(read_files(paths, is_partial_fine=is_partial_fine))


def result_of(data: TraceData) -> TraceResult:
    """Return a result with these spans and facts; they are shared, not copied."""
    return TraceResult(data.name, data.spans, data.value, data.meta, data.trace_id, data.is_frozen)


def _written(text: str, path: "str | os.PathLike[str] | None") -> str:
    if path is not None:
        from flow_xray._write.whole_file import write_whole

        write_whole(path, text.encode("utf-8"))
    return text
