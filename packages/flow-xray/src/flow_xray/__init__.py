"""Record what a program did and show it in one offline HTML file.

    from flow_xray import trace

    @trace(kind="tool")
    def search(query: str) -> list[str]: ...

    result = trace.run(search, "loom")      # await trace.arun(...) in async code
    result.to_html("trace.html")

`trace` records; a `TraceResult` holds `Span`s and writes files; `read_journal` reads what a killed process left;
`TraceResult.diff` gives the `TraceDiff` of two runs.
"""

from typing import TYPE_CHECKING

from flow_xray._errors import FlowXrayError, TraceFormatError, TraceOutputError
from flow_xray._freeze import Limits
from flow_xray._model import Span
from flow_xray._result import TraceResult
from flow_xray._session import Session
from flow_xray._trace import trace

if TYPE_CHECKING:
    from flow_xray._diff import TraceDiff
    from flow_xray._journal_read import read_journal

__all__ = [
    "FlowXrayError",
    "Limits",
    "Session",
    "Span",
    "TraceDiff",
    "TraceFormatError",
    "TraceOutputError",
    "TraceResult",
    "read_journal",
    "trace",
]


def __getattr__(name: str) -> object:
    """Load what few programs need at its first use."""
    if name == "read_journal":
        from flow_xray._journal_read import read_journal  # noqa: PLC0415  as said

        return read_journal
    if name == "TraceDiff":
        from flow_xray._diff import TraceDiff  # noqa: PLC0415  as above

        return TraceDiff
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
