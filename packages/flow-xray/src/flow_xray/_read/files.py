"""Read a trace file of any format, which is detected from its content, not its name.

| begins with | format |
|---|---|
| a record of a journal | a `.xray` journal |
| `{"format": "flow-xray/..."` | a trace file, written by `to_json` |
| `{"resourceSpans": [...]}`, also one a line | OTLP/JSON of OpenTelemetry |
| `{"traceEvents": [...]}` or `[{"ph": ...}]` | Chrome trace events |

The unreadable parts of another program's file are omitted and listed in `meta["notes"]`; those of a
flow-xray file only when the caller requests its intact part.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flow_xray._data.trace_data import TraceData
from flow_xray._errors import TooLargeError, TraceFormatError
from flow_xray._read.bounds import decode, read_bounded
from flow_xray._write.journal import MAGIC

if TYPE_CHECKING:
    from flow_xray._data.span import Json

_FORMATS = "a .xray journal, a JSON trace, OTLP/JSON or Chrome trace events"


def read_files(paths: Sequence[str], *, is_partial_fine: bool = False) -> TraceData:
    """Return the one trace in these files.

    Args:
        paths: The paths of the files.
        is_partial_fine: Return the intact part of a damaged trace file; the caller shows
            `meta["notes"]`.

    Raises:
        TraceFormatError: A file cannot be read, or its format is unknown.
    """
    contents: list[tuple[bytes, str]] = []
    for path in paths:
        try:
            contents.append((read_bounded(path), path))
        except OSError as error:
            raise TraceFormatError(
                f"cannot read {path!r}: because {error.strerror or error}. Give {_FORMATS}."
            ) from error
    if all(MAGIC in content[:64] for content, _ in contents):
        from flow_xray._read.journal import parse_journals

        try:
            return parse_journals(contents)
        except TooLargeError as error:
            raise TooLargeError(_named(error, paths[0])) from None
    return _joined([_parsed(content, path, is_partial_fine) for content, path in contents])


def _parsed(content: bytes, path: str, is_partial_fine: bool) -> TraceData:
    try:
        return _detected(content, path, is_partial_fine)
    except TooLargeError as error:
        raise TooLargeError(_named(error, path)) from None


def _detected(content: bytes, path: str, is_partial_fine: bool) -> TraceData:
    if MAGIC in content[:64]:
        from flow_xray._read.journal import parse_journal

        return parse_journal(content, path)
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    if not content:
        raise TraceFormatError(f"cannot read {path!r}: because it is empty. Give {_FORMATS}.")
    if content.lstrip()[:1] not in (b"{", b"["):
        raise TraceFormatError(f"cannot read {path!r}: because its format is unknown. Give {_FORMATS}.")
    if b'"flow-xray/' in content[:100]:
        return _trace_file(content, path, is_partial_fine)
    documents, is_cut = _documents(content, path)
    first = documents[0]
    if isinstance(first, dict) and str(first.get("format", "")).startswith("flow-xray/"):
        return _trace_file(content, path, is_partial_fine)  # its members are in another order
    if isinstance(first, dict) and ("resourceSpans" in first or "resource_spans" in first):
        from flow_xray._read.otlp import read_otlp

        return read_otlp(documents, path, is_cut=is_cut, size=len(content))
    if _is_chrome(first):
        from flow_xray._read.chrome import read_chrome

        return read_chrome(first, path, size=len(content))
    raise TraceFormatError(f"cannot read {path!r}: because it is JSON of another kind. Give {_FORMATS}.")


def _trace_file(content: bytes, path: str, is_partial_fine: bool) -> TraceData:
    from flow_xray._read.trace_file import load

    try:
        return load(content)
    except TooLargeError:
        raise
    except TraceFormatError as error:
        if is_partial_fine:
            from flow_xray._read.salvage import salvage

            found = salvage(content.decode("utf-8", "replace"))
            if found is not None:
                return found
        raise TraceFormatError(_named(error, path)) from None


def _named(error: TraceFormatError, path: str) -> str:
    return str(error).replace("cannot read the trace:", f"cannot read {path!r}:", 1)


def _documents(content: bytes, path: str) -> tuple[list[Any], bool]:
    """Return the JSON documents of a file, one or one a line, and whether the last line was cut."""
    try:
        return [decode(content)], False
    except TooLargeError:
        raise
    except ValueError as error:
        reason = error
    documents: list[Any] = []
    lines = [line for line in content.split(b"\n") if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            documents.append(decode(line))
        except TooLargeError:
            raise
        except ValueError:
            if number == len(lines) and documents:
                return documents, True
            break
    else:
        return documents, False
    raise TraceFormatError(f"cannot read {path!r}: because it is not JSON ({reason}). Give {_FORMATS}.") from None


def _is_chrome(first: Any) -> bool:
    events = first.get("traceEvents") if isinstance(first, dict) else first
    return isinstance(events, list) and (
        isinstance(first, dict) or any(isinstance(each, dict) and "ph" in each for each in events[:5])
    )


def _joined(traces: list[TraceData]) -> TraceData:
    """Join several traces into one.

    It has the name of the first one, and a span in two of them counts once.
    """
    first = traces[0]
    if len(traces) == 1:
        return first
    spans = {span.id: span for trace in reversed(traces) for span in trace.spans}
    notes: list[Json] = []
    for trace in traces:
        found = trace.meta.get("notes")
        notes += found if isinstance(found, list) else []
    meta = {**first.meta, **({"notes": notes} if notes else {})}
    ordered = [spans.pop(span.id) for trace in traces for span in trace.spans if span.id in spans]
    return TraceData(first.name, ordered, first.value, meta, first.trace_id, is_frozen=True)
