"""Read a trace file, whichever kind it is; its content says, not its name.

| begins with | is |
|---|---|
| a record of a journal | a `.xray` journal |
| `{"format": "flow-xray/..."` | a trace written by `to_json` |
| `{"resourceSpans": [...]}`, also one a line | OTLP/JSON of OpenTelemetry |
| `{"traceEvents": [...]}` or `[{"ph": ...}]` | Chrome trace events |

What of a foreign file cannot be read is left out and said in `result.meta["notes"]`; of a file of our own only when the
caller wants what is whole of it.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flow_xray._errors import TraceFormatError
from flow_xray._journal import MAGIC
from flow_xray._result import TraceResult

if TYPE_CHECKING:
    from flow_xray._model import Json

_KINDS = "a .xray journal, a JSON trace, OTLP/JSON or Chrome trace events"


def read_files(paths: Sequence[str], *, is_partial_fine: bool = False) -> TraceResult:
    """Return the one trace in these files.

    Args:
        paths: of the files.
        is_partial_fine: of a damaged file of our own return what is whole; the caller shows `meta["notes"]`.

    Raises:
        TraceFormatError: one cannot be read, or is of a kind that is not known.
    """
    contents: list[tuple[bytes, str]] = []
    for path in paths:
        try:
            with open(path, "rb") as stream:  # noqa: PTH123  pathlib costs 9 ms
                contents.append((stream.read(), path))
        except OSError as error:
            raise TraceFormatError(
                f"cannot read {path!r}: because {error.strerror or error}. Give {_KINDS}."
            ) from error
    if all(MAGIC in content[:64] for content, _ in contents):
        from flow_xray._journal_read import parse_journals

        return parse_journals(contents)
    return _joined([_parsed(content, path, is_partial_fine) for content, path in contents])


def _parsed(content: bytes, path: str, is_partial_fine: bool) -> TraceResult:
    if MAGIC in content[:64]:
        from flow_xray._journal_read import parse_journal

        return parse_journal(content, path)
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    if not content:
        raise TraceFormatError(f"cannot read {path!r}: because it is empty. Give {_KINDS}.")
    if content.lstrip()[:1] not in (b"{", b"["):
        raise TraceFormatError(f"cannot read {path!r}: because it is none of the known kinds. Give {_KINDS}.")
    if b'"flow-xray/' in content[:100]:
        return _own(content, path, is_partial_fine)
    whole, is_cut = _documents(content, path)
    first = whole[0]
    if isinstance(first, dict) and str(first.get("format", "")).startswith("flow-xray/"):
        return _own(content, path, is_partial_fine)  # somebody has put its members into another order
    if isinstance(first, dict) and ("resourceSpans" in first or "resource_spans" in first):
        from flow_xray._otlp_read import read_otlp

        return read_otlp(whole, path, is_cut=is_cut)
    if _is_chrome(first):
        from flow_xray._chrome_read import read_chrome

        return read_chrome(first, path)
    raise TraceFormatError(f"cannot read {path!r}: because it is JSON of another kind. Give {_KINDS}.")


def _own(content: bytes, path: str, is_partial_fine: bool) -> TraceResult:
    try:
        return TraceResult.from_json(content)
    except TraceFormatError as error:
        if is_partial_fine:
            from flow_xray._salvage import salvage

            found = salvage(content.decode("utf-8", "replace"))
            if found is not None:
                return found
        raise TraceFormatError(str(error).replace("cannot read the trace:", f"cannot read {path!r}:", 1)) from None


def _documents(content: bytes, path: str) -> tuple[list[Any], bool]:
    """Return the JSON documents of a file: one, or one a line; and whether the last line was cut off."""
    try:
        return [json.loads(content, parse_constant=str)], False
    except (ValueError, RecursionError) as error:
        trouble = error
    documents: list[Any] = []
    lines = [line for line in content.split(b"\n") if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            documents.append(json.loads(line, parse_constant=str))
        except (ValueError, RecursionError):
            if number == len(lines) and documents:
                return documents, True
            break
    else:
        return documents, False
    raise TraceFormatError(f"cannot read {path!r}: because it is not JSON ({trouble}). Give {_KINDS}.") from None


def _is_chrome(first: Any) -> bool:
    events = first.get("traceEvents") if isinstance(first, dict) else first
    return isinstance(events, list) and (
        isinstance(first, dict) or any(isinstance(each, dict) and "ph" in each for each in events[:5])
    )


def _joined(results: list[TraceResult]) -> TraceResult:
    """Make one trace of several; the first gives its name, and a span that is in two of them is taken once."""
    first = results[0]
    if len(results) == 1:
        return first
    spans = {span.id: span for result in reversed(results) for span in result.spans}
    notes: list[Json] = []
    for result in results:
        found = result.meta.get("notes")
        notes += found if isinstance(found, list) else []
    meta = {**first.meta, **({"notes": notes} if notes else {})}
    ordered = [spans.pop(span.id) for result in results for span in result.spans if span.id in spans]
    return TraceResult(first.name, ordered, first.value, meta, first.trace_id, is_frozen=True)
