"""Read a journal: every complete record, even after the process was killed.

A truncated or damaged record is skipped and counted; reading continues at the next line. A span
without an end is *interrupted*; in a session that was closed in order it is *open* (a task or
thread outlived the session). Meta and tags come from their own records until an end record brings
the final ones.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from flow_xray._data.span import STATUSES, Json, Span
from flow_xray._data.trace_data import TraceData
from flow_xray._data.unpack import Pool, nanoseconds
from flow_xray._errors import TooLargeError, TraceFormatError
from flow_xray._read.bounds import SPAN_BYTES, check_memory, decode, read_bounded
from flow_xray._read.damage import LOST
from flow_xray._write.journal import MAGIC, VERSION


@dataclass(slots=True)
class _State:
    """The state after some of the records."""

    pool: Pool
    spans: dict[str, Span] = field(default_factory=dict)
    headers: list[dict[str, Any]] = field(default_factory=list)
    closed: dict[str, Json] = field(default_factory=dict)
    meta: dict[str, Json] = field(default_factory=dict)
    tags: list[Json] = field(default_factory=list)
    damaged: int = 0
    is_first_file: bool = True
    last_own_session: str = ""


def read_journals(paths: Sequence[str]) -> TraceData:
    """Return the one trace in several journals; see `flow_xray.read_journal`.

    Raises:
        TraceFormatError: A file cannot be read, is not a journal, or a newer flow-xray wrote it.
    """
    if not paths:
        raise TypeError("cannot read a journal: because no path was given. Give the path of a .xray file.")
    contents = []
    for path in paths:
        try:
            contents.append((read_bounded(path), path))
        except OSError as error:
            raise TraceFormatError(
                f"cannot read {path!r}: because {error.strerror or error}. Give the path of a .xray file."
            ) from error
    return parse_journals(contents)


def parse_journal(content: bytes, name: str = "journal") -> TraceData:
    """Return the trace in the bytes of a journal."""
    return parse_journals([(content, name)])


def parse_journals(contents: list[tuple[bytes, str]]) -> TraceData:
    """Return the one trace in the bytes of several journals, each with its name.

    The journal with the earliest start is that of the process which started the others: it decides
    name, value and meta of the trace.
    """
    size = sum(len(content) for content, _ in contents)
    check_memory(sum(content.count(b'{"t":"start"') for content, _ in contents), "spans", SPAN_BYTES, size)
    state = _State(Pool(size, LOST))
    for number, (content, name) in enumerate(sorted(contents, key=lambda each: _started_at_ns(each[0]))):
        state.is_first_file = number == 0
        if MAGIC not in content[:64]:
            raise TraceFormatError(
                f"cannot read {name!r}: because it is not a journal of flow-xray. Give a .xray file."
            )
        for record in _records(content, state):
            try:
                _apply(record, state, name)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                if isinstance(error, TraceFormatError):
                    raise
                state.damaged += 1
    return _trace_of(state)


def _started_at_ns(content: bytes) -> int:
    """Return the time in the first record of a journal; a file without one sorts last."""
    try:
        return int(json.loads(content[:10_000].partition(b"\n")[0].partition(b":")[2])["started_at_ns"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return 2**63


def _records(content: bytes, state: _State) -> Iterator[dict[str, Any]]:
    for found in re.finditer(rb"[^\n]+", content):
        line = found[0]
        length, colon, text = line.partition(b":")
        record = None
        if colon and len(length) < 20 and length.isdigit() and int(length) == len(text):
            try:
                record = decode(text)
            except (ValueError, TooLargeError):
                record = None
        if isinstance(record, dict) and isinstance(record.get("t"), str):
            yield record
        else:
            state.damaged += 1


def _apply(record: dict[str, Any], state: _State, name: str) -> None:
    kind = record["t"]
    if kind == "start":
        parent = record["parent_id"]
        span = Span(
            id=str(record["id"]),
            parent_id=None if parent is None else str(parent),
            name=str(record["name"]),
            kind=str(record["kind"]),
            started_at_ns=nanoseconds(record["at"]),
            status="interrupted",
            input=state.pool.unpack(record["input"]),
            thread=str(record["thread"]),
            code=str(record.get("code", "")),
        )
        state.spans[span.id] = span
    elif kind == "end":
        _end(state.spans[record["id"]], record, state.pool)
    elif kind == "value":
        state.pool.add(str(record["key"]), record["value"])
    elif kind in ("meta", "tag"):
        _note(record, state)
    elif kind == "close":
        state.closed[str(record["session"])] = state.pool.unpack(record["value"])
    elif kind == "flow-xray":
        if int(record["version"]) > VERSION:
            raise TraceFormatError(
                f"cannot read {name!r}: because its version is {record['version']} "
                f"and this flow-xray reads {VERSION}. Update flow-xray."
            )
        state.headers.append(record)
        if state.is_first_file:
            state.last_own_session = str(record.get("session", ""))
    # Other kinds belong to a later minor version; the spans can be shown without them.


def _note(record: dict[str, Any], state: _State) -> None:
    """Add meta or a tag to its span, or to the trace."""
    values = state.pool.unpack_members(record["values"])
    span = None if record["id"] is None else state.spans[record["id"]]
    if record["t"] == "meta":
        if span is not None:
            span.meta.update(values)
        else:
            state.meta = {**state.meta, **values} if state.is_first_file else {**values, **state.meta}
    elif span is None:
        state.tags.append(values)
    else:
        span.tags.append(values)


def _end(span: Span, record: dict[str, Any], pool: Pool) -> None:
    status = record["status"]
    if status not in STATUSES:
        raise ValueError(f"unknown status {status!r}")
    error = record.get("error")
    span.output = pool.unpack(record.get("output"))
    if "input" in record:
        span.name, span.kind = str(record["name"]), str(record["kind"])
        span.input = pool.unpack(record["input"])
    span.error = None if error is None else pool.unpack_members(error)
    span.meta = pool.unpack_members(record.get("meta", {}))
    span.tags = [pool.unpack_members(tag) for tag in record.get("tags", [])]
    span.duration_ns = nanoseconds(record["took"])
    span.status = status


def _trace_of(state: _State) -> TraceData:
    sessions = [str(header.get("session", "")) for header in state.headers]
    is_complete = bool(sessions) and all(session in state.closed for session in sessions)
    if is_complete:
        for span in state.spans.values():
            if span.duration_ns is None:
                span.status = "open"
    first = state.headers[0] if state.headers else {}
    processes = {header.get("pid") for header in state.headers}
    meta: dict[str, Json] = dict(state.meta)
    if state.tags:
        meta["tags"] = state.tags
    meta["journal"] = {
        "sessions": len(sessions),
        "processes": len(processes),
        "damaged_records": state.damaged,
        "is_complete": is_complete,
    }
    return TraceData(
        name=str(first.get("name", "trace")),
        spans=list(state.spans.values()),
        value=state.closed.get(state.last_own_session),
        meta=meta,
        trace_id=str(first.get("trace_id", "")),
        is_frozen=True,
    )
