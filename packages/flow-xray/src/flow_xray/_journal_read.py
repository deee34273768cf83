"""Read a journal: everything that was written whole, whatever happened to the process.

A record that is torn or damaged is left out and counted; reading goes on at the next line. A span without an end is
*interrupted*; in a session that was closed in order it is *open* (somebody let it run on). Meta and tags are
taken from their own records until an end record brings the final ones.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flow_xray._errors import TraceFormatError
from flow_xray._journal import MAGIC, VERSION
from flow_xray._model import STATUSES, Json, Span
from flow_xray._pool import Key, unpack
from flow_xray._result import TraceResult

LOST = "<lost: its record is damaged>"


class _Pool(dict[Key, Json]):
    """The pooled values; one whose record was damaged is said in its place."""

    def __missing__(self, key: Key) -> Json:
        return LOST


@dataclass(slots=True)
class _Reading:
    """What is known after some of the records."""

    spans: dict[str, Span] = field(default_factory=dict)

    pool: "_Pool" = field(default_factory=_Pool)
    headers: list[dict[str, Any]] = field(default_factory=list)
    closed: dict[str, Json] = field(default_factory=dict)
    meta: dict[str, Json] = field(default_factory=dict)
    tags: list[Json] = field(default_factory=list)
    damaged: int = 0
    is_first_file: bool = True
    last_own_session: str = ""


def read_journal(*paths: "str | os.PathLike[str]") -> TraceResult:
    """Return the trace that a journal holds so far; the file may still be written to.

    Several journals make one trace: those of a process and of the processes that it started with
    `trace.environment()`.

    `result.meta["journal"]` says how many sessions it holds, how many records were damaged, and whether it is complete.

    Raises:
        TraceFormatError: the file cannot be read, is not a journal, or was written by a newer flow-xray.
    """
    if not paths:
        raise TypeError("cannot read a journal: because no path was given. Give the path of a .xray file.")
    contents = []
    for path in paths:
        name = os.fspath(path)
        try:
            with open(name, "rb") as stream:  # noqa: PTH123  pathlib costs 9 ms at import
                contents.append((stream.read(), name))
        except OSError as error:
            raise TraceFormatError(
                f"cannot read {name!r}: because {error.strerror or error}. Give the path of a .xray file."
            ) from error
    return parse_journals(contents)


def parse_journal(content: bytes, name: str = "journal") -> TraceResult:
    """Return the trace in the bytes of a journal."""
    return parse_journals([(content, name)])


def parse_journals(contents: list[tuple[bytes, str]]) -> TraceResult:
    """Return the one trace in the bytes of several journals, each with its name.

    The journal that began first is that of the process which started the others: name, value and facts of the trace
    are its own.
    """
    reading = _Reading()
    for number, (content, name) in enumerate(sorted(contents, key=lambda each: _began_at(each[0]))):
        reading.is_first_file = number == 0
        if MAGIC not in content[:64]:
            raise TraceFormatError(
                f"cannot read {name!r}: because it is not a journal of flow-xray. Give a .xray file."
            )
        for record in _records(content, reading):
            try:
                _take(record, reading, name)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                if isinstance(error, TraceFormatError):
                    raise
                reading.damaged += 1
    return _result(reading)


def _began_at(content: bytes) -> int:
    """Return the time in the first record of a journal; a file without one comes last."""
    try:
        return int(json.loads(content[:10_000].partition(b"\n")[0].partition(b":")[2])["started_at_ns"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return 2**63


def _records(content: bytes, reading: _Reading) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n"):
        if not line:
            continue
        length, colon, text = line.partition(b":")
        record = None
        if colon and length.isdigit() and int(length) == len(text):
            try:
                record = json.loads(text, parse_constant=str)
            except (ValueError, RecursionError):
                record = None
        if isinstance(record, dict) and isinstance(record.get("t"), str):
            yield record
        else:
            reading.damaged += 1


def _take(record: dict[str, Any], reading: _Reading, name: str) -> None:
    word = record["t"]
    if word == "start":
        parent = record["parent_id"]
        span = Span(
            id=str(record["id"]),
            parent_id=None if parent is None else str(parent),
            name=str(record["name"]),
            kind=str(record["kind"]),
            started_at_ns=int(record["at"]),
            status="interrupted",
            input=unpack(record["input"], reading.pool),
            thread=str(record["thread"]),
            code=str(record.get("code", "")),
        )
        reading.spans[span.id] = span
    elif word == "end":
        _end(reading.spans[record["id"]], record, reading.pool)
    elif word == "value":
        reading.pool[str(record["key"])] = unpack(record["value"], reading.pool)
    elif word in ("meta", "tag"):
        values = _object(unpack(record["values"], reading.pool))
        span_or_none = None if record["id"] is None else reading.spans[record["id"]]
        if word == "meta":
            if span_or_none is not None:
                span_or_none.meta.update(values)
            else:
                reading.meta = {**reading.meta, **values} if reading.is_first_file else {**values, **reading.meta}
        elif span_or_none is None:
            reading.tags.append(values)
        else:
            span_or_none.tags.append(values)
    elif word == "close":
        reading.closed[str(record["session"])] = unpack(record["value"], reading.pool)
    elif word == "flow-xray":
        if int(record["version"]) > VERSION:
            raise TraceFormatError(
                f"cannot read {name!r}: because its version is {record['version']} and this flow-xray reads {VERSION}. "
                "Update flow-xray."
            )
        reading.headers.append(record)
        if reading.is_first_file:
            reading.last_own_session = str(record.get("session", ""))
    # Other words belong to a later minor version; what they add is not needed to show the spans.


def _end(span: Span, record: dict[str, Any], pool: dict[Key, Json]) -> None:
    status = record["status"]
    if status not in STATUSES:
        raise ValueError(f"unknown status {status!r}")
    error = record.get("error")
    span.output = unpack(record.get("output"), pool)
    if "input" in record:
        span.name, span.kind = str(record["name"]), str(record["kind"])
        span.input = unpack(record["input"], pool)
    span.error = None if error is None else _object(unpack(error, pool))
    span.meta = {key: unpack(value, pool) for key, value in record.get("meta", {}).items()}
    span.tags = [_object(unpack(tag, pool)) for tag in record.get("tags", [])]
    span.duration_ns = int(record["took"])
    span.status = status


def _result(reading: _Reading) -> TraceResult:
    sessions = [str(header.get("session", "")) for header in reading.headers]
    is_complete = bool(sessions) and all(session in reading.closed for session in sessions)
    if is_complete:
        for span in reading.spans.values():
            if span.duration_ns is None:
                span.status = "open"
    first = reading.headers[0] if reading.headers else {}
    processes = {header.get("pid") for header in reading.headers}
    meta: dict[str, Json] = dict(reading.meta)
    if reading.tags:
        meta["tags"] = reading.tags
    meta["journal"] = {
        "sessions": len(sessions),
        "processes": len(processes),
        "damaged_records": reading.damaged,
        "is_complete": is_complete,
    }
    return TraceResult(
        name=str(first.get("name", "trace")),
        spans=list(reading.spans.values()),
        value=reading.closed.get(reading.last_own_session),
        meta=meta,
        trace_id=str(first.get("trace_id", "")),
        is_frozen=True,
    )


def _object(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError(f"an object was expected, not {type(value).__name__}")
    return value
