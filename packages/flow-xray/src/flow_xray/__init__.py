"""Record what a program did and show it in one offline HTML file.

    from flow_xray import trace

    @trace(kind="tool")
    def search(query: str) -> list[str]: ...

    result = trace.run(search, "loom")      # await trace.arun(...) in async code
    result.to_html("trace.html")

`trace` records; a `TraceResult` holds `Span`s and writes files; `read_journal` reads the journal of
a killed process. `TraceResult.diff` returns the `TraceDiff` of two runs; `TraceResult.analyze`
returns `Finding`s, including those of custom rules on a `SpanTree`; a `TraceStore` holds many
captures in a folder. pytest discovers the fixture `xray_golden`.

Loaded only when imported: `flow_xray.asgi.TraceMiddleware`, `flow_xray.otel.XraySpanProcessor`,
`flow_xray.terminal` (text from elsewhere, made safe for a terminal).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flow_xray._analysis.findings import Finding
    from flow_xray._captures.capture import Capture
    from flow_xray._captures.store import TraceStore
    from flow_xray._compare.diff import TraceDiff
    from flow_xray._data.span import Span
    from flow_xray._data.tree import SpanTree
    from flow_xray._errors import FlowXrayError, TraceFormatError, TraceOutputError
    from flow_xray._record.session import Session
    from flow_xray._record.trace import trace
    from flow_xray._redaction.freeze import Limits
    from flow_xray._result import TraceResult, read_journal

__all__ = [
    "Capture",
    "Finding",
    "FlowXrayError",
    "Limits",
    "Session",
    "Span",
    "SpanTree",
    "TraceDiff",
    "TraceFormatError",
    "TraceOutputError",
    "TraceResult",
    "TraceStore",
    "read_journal",
    "trace",
]


_MODULES = {
    "Capture": "_captures.capture",
    "Finding": "_analysis.findings",
    "FlowXrayError": "_errors",
    "Limits": "_redaction.freeze",
    "Session": "_record.session",
    "Span": "_data.span",
    "SpanTree": "_data.tree",
    "TraceDiff": "_compare.diff",
    "TraceFormatError": "_errors",
    "TraceOutputError": "_errors",
    "TraceResult": "_result",
    "TraceStore": "_captures.store",
    "read_journal": "_result",
    "trace": "_record.trace",
}


def __getattr__(name: str) -> object:
    """Load a name at its first use: `flow_xray.terminal` is for commands that record nothing."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"flow_xray.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
