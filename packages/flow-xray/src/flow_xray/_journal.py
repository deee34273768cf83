"""The journal: a trace on disk while it happens.

Theory of operation. A `.xray` file is a sequence of records, each one line: `<length of the JSON in bytes>:<JSON>`, written by one
`write` to a file opened for appending. What a killed process leaves is therefore every record before the one it was writing.
The length makes a torn record visible even where its beginning is valid JSON; the line end lets a reader go on behind a damaged
place. The JSON is ASCII, so bytes and characters are the same.

    {"t": "flow-xray", "version": 1, "session", "name", "started_at_ns", "pid", "python"}     one per session
    {"t": "start", "id", "parent_id", "name", "kind", "at", "thread", "input"}
    {"t": "meta", "id", "values"}    {"t": "tag", "id", "values"}       as they happen; without an id: of the session
    {"t": "end", "id", "took", "status", "output", "error", "meta", "tags"}
    {"t": "value", "key", "value"}   a pooled message or long text, written before the first record that refers to it
    {"t": "close", "session", "at", "value"}                            the session ended in order

Keys of pooled values are hashes of their content and span ids are unique, so several sessions, also of several
processes, may append to the same file: nothing of an earlier run is ever overwritten.

What is not covered: the loss of the machine's power (no fsync per record), and a file system without atomic appends (some
network file systems) when several processes write at once.
"""

import os
import sys
from hashlib import blake2b
from json.encoder import JSONEncoder
from typing import Final

from flow_xray._errors import TraceOutputError
from flow_xray._model import Json, Span
from flow_xray._pool import Key, pack

VERSION: Final = 1
MAGIC: Final = b':{"t":"flow-xray","version":'

_encode: Final = JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


class JournalWriter:
    """Append the records of one session to a file.

    Raises:
        OSError: the file cannot be opened.
        TraceOutputError: the file holds something else than a journal.

    Durability: when a method returns, its record is with the operating system; it survives the death of the process.
    """

    __slots__ = ("_file", "_known", "_session", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._session = ""
        self._known: set[str] = set()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        try:
            self._join_existing()
        except BaseException:
            os.close(self._file)
            raise

    def _join_existing(self) -> None:
        size = os.fstat(self._file).st_size
        if size == 0:
            return
        head = os.read(self._file, 64)
        if MAGIC not in head:
            raise TraceOutputError(
                f"cannot append to {self.path!r}: because it is not a journal of flow-xray. Give another path, or remove the file."
            )
        os.lseek(self._file, -1, os.SEEK_END)
        if os.read(self._file, 1) != b"\n":
            os.write(self._file, b"\n")  # close the record that a killed process left torn

    def header(self, name: str, session: str, started_at_ns: int) -> None:
        """Write what comes before the first span of a session."""
        self._session = session
        python = ".".join(str(part) for part in sys.version_info[:3])
        self._append(
            {
                "t": "flow-xray",
                "version": VERSION,
                "session": session,
                "name": name,
                "started_at_ns": started_at_ns,
                "pid": os.getpid(),
                "python": python,
            }  # fmt: skip
        )

    def start(self, span: Span) -> None:
        """Write that a span began."""
        given = span.input
        self._append(
            {
                "t": "start",
                "id": span.id,
                "parent_id": span.parent_id,
                "name": span.name,
                "kind": span.kind,
                "at": span.started_at_ns,
                "thread": span.thread,
                "input": pack(given, self._put) if given else given,
            }  # fmt: skip
        )

    def note(self, word: str, span: Span | None, values: dict[str, Json]) -> None:
        """Write meta or a tag as soon as it is known."""
        self._append({"t": word, "id": None if span is None else span.id, "values": pack(values, self._put)})

    def end(self, span: Span) -> None:
        """Write that a span ended, with everything that is known only now."""
        record: dict[str, Json] = {"t": "end", "id": span.id, "took": span.duration_ns, "status": span.status}
        if span.output is not None:
            record["output"] = pack(span.output, self._put)
        if span.error is not None:
            record["error"] = pack(dict(span.error), self._put)
        if span.meta:
            record["meta"] = {key: pack(value, self._put) for key, value in span.meta.items()}
        if span.tags:
            record["tags"] = [pack(dict(tag), self._put) for tag in span.tags]
        self._append(record)

    def close(self, at_ns: int, value: Json) -> None:
        """Write that the session ended in order, and close the file."""
        try:
            self._append({"t": "close", "session": self._session, "at": at_ns, "value": pack(value, self._put)})
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _put(self, value: Json) -> Key:
        text = _encode(value)
        key = blake2b(text.encode("ascii"), digest_size=12).hexdigest()
        if key not in self._known:
            self._append({"t": "value", "key": key, "value": value})
            self._known.add(key)
        return key

    def _append(self, record: dict[str, Json]) -> None:
        text = _encode(record)
        line = f"{len(text)}:{text}\n".encode("ascii")
        written = os.write(self._file, line)
        if written != len(line):  # a full disk takes a part; the rest will not fit either
            raise OSError(28, "only a part of a record could be written", self.path)
