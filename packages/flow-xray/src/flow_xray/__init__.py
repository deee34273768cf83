"""Record what a program did and show it in one offline HTML file.

    from flow_xray import trace

    @trace(kind="tool")
    def search(query: str) -> list[str]: ...

    result = trace.run(search, "loom")      # await trace.arun(...) in async code
    result.to_html("trace.html")

`trace` records; a `TraceResult` holds `Span`s and writes files; `read_journal` reads what a killed process left;
`TraceResult.diff` gives the `TraceDiff` of two runs; `TraceResult.analyze` gives `Finding`s, also of your own rules on
a `SpanTree`; a `TraceStore` keeps many captures in a folder. pytest finds the fixture `xray_golden` by itself.

Beside it, loaded only when imported: `flow_xray.asgi.TraceMiddleware`, `flow_xray.otel.XraySpanProcessor`.
"""

from typing import TYPE_CHECKING

from flow_xray._errors import FlowXrayError, TraceFormatError, TraceOutputError
from flow_xray._freeze import Limits
from flow_xray._model import Span
from flow_xray._result import TraceResult
from flow_xray._session import Session
from flow_xray._trace import trace

if TYPE_CHECKING:
    from flow_xray._analyze import Finding
    from flow_xray._diff import TraceDiff
    from flow_xray._journal_read import read_journal
    from flow_xray._store import Capture, TraceStore
    from flow_xray._tree import SpanTree

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


_LATER = {
    "Capture": "_store",
    "Finding": "_analyze",
    "SpanTree": "_tree",
    "TraceDiff": "_diff",
    "TraceStore": "_store",
    "read_journal": "_journal_read",
}


def __getattr__(name: str) -> object:
    """Load what few programs need at its first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"flow_xray.{_LATER[name]}"), name)
