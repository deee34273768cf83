"""The journal: a trace that is written to disk while it is recorded.

Theory of operation. A `.xray` file is a sequence of records, each one line:
`<length of the JSON in bytes>:<JSON>`, written by one `write` to a file opened for appending. A
killed process therefore leaves every record before the one that it was writing. The length reveals
a truncated record even where its beginning is valid JSON; the line end lets a reader continue after
a damaged record. The JSON is ASCII, so bytes and characters are the same.

    {"t": "flow-xray", "version": 1, "session", "name", "trace_id", "started_at_ns", "pid",
     "python"}
    {"t": "start", "id", "parent_id", "name", "kind", "at", "thread", "code", "input"}
    {"t": "meta", "id", "values"}
    {"t": "tag", "id", "values"}
    {"t": "end", "id", "took", "status", "output", "error", "meta", "tags"}
    {"t": "value", "key", "value"}
    {"t": "close", "session", "at", "value"}

"flow-xray" begins a session, and "close" ends it in order. "meta" and "tag" are written as they
happen; a null id means the session. The "end" of an adopted span has name, kind and input, too.
"value" is a pooled message or long text, written before the first record that refers to it.

Keys of pooled values are hashes of their content, and span ids are unique, so several sessions,
also of several processes, may append to the same file: nothing of an earlier run is overwritten.

Not covered: the loss of the machine's power (no fsync per record), and a file system without atomic
appends (some network file systems) when several processes write at once.
"""

import os
import sys
from collections.abc import Callable
from hashlib import blake2b
from json import encoder as _json_encoder
from json.encoder import encode_basestring_ascii as quote
from typing import Final

from flow_xray._data.pool import LONG_TEXT, Key, Lists, pack
from flow_xray._data.span import Json, Span
from flow_xray._errors import TraceOutputError

VERSION: Final = 1
MAGIC: Final = b':{"t":"flow-xray","version":'


class JournalWriter:
    """Append the records of one session to a file.

    Raises:
        OSError: The file cannot be opened.
        TraceOutputError: The file exists and is not a journal.

    Durability: when a method returns, the operating system has its record; it survives the death of
    the process.
    """

    __slots__ = ("_file", "_heads", "_known", "_lists", "_pid", "_session", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._session = ""
        self._pid = os.getpid()
        self._known: set[str] = set()
        self._lists = Lists()
        self._heads: dict[tuple[str, str, str, str], str] = {}
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
                f"cannot append to {self.path!r}: because it is not a journal. Give another path, or remove the file."
            )
        os.lseek(self._file, -1, os.SEEK_END)
        if os.read(self._file, 1) != b"\n":
            os.write(self._file, b"\n")  # end the line of a record that a killed process left truncated

    def header(self, name: str, trace_id: str, started_at_ns: int) -> None:
        """Write the first record of a session."""
        self._session = os.urandom(8).hex()
        python = ".".join(str(part) for part in sys.version_info[:3])
        self._write(
            f'{{"t":"flow-xray","version":{VERSION},"session":"{self._session}","name":{quote(name)},'
            f'"trace_id":"{trace_id}","started_at_ns":{started_at_ns},"pid":{os.getpid()},"python":"{python}"}}'
        )

    def start(self, span: Span) -> None:
        """Record the start of a span."""
        key = (span.name, span.kind, span.thread, span.code)
        head = self._heads.get(key)
        if head is None:
            code = f'"code":{quote(span.code)},' if span.code else ""
            head = f'"name":{quote(span.name)},"kind":{quote(span.kind)},"thread":{quote(span.thread)},{code}"input":'
            if len(self._heads) < 1_000:
                self._heads[key] = head
        parent = "null" if span.parent_id is None else f'"{span.parent_id}"'
        self._write(
            f'{{"t":"start","id":"{span.id}","parent_id":{parent},"at":{span.started_at_ns},{head}{self._packed(span.input)}}}'
        )

    def note(self, record: str, values: dict[str, Json], span: Span | None) -> None:
        """Write a record "meta" or "tag" as soon as it is known."""
        owner = "null" if span is None else f'"{span.id}"'
        self._write(f'{{"t":"{record}","id":{owner},"values":{self._packed(values)}}}')

    def end_of_adopted(self, span: Span) -> None:
        """Write the end of an adopted span, with its final name, kind and input."""
        self.end(span, f',"name":{quote(span.name)},"kind":{quote(span.kind)},"input":{self._packed(span.input)}')

    def end(self, span: Span, more: str = "") -> None:
        """Record the end of a span, with its result, meta and tags."""
        parts = [f'{{"t":"end","id":"{span.id}","took":{span.duration_ns},"status":"{span.status}"{more}']
        if span.output is not None:
            parts.append(f'"output":{self._packed(span.output)}')
        if span.error is not None:
            parts.append(f'"error":{self._packed(dict(span.error))}')
        if span.meta:
            parts.append(f'"meta":{self._packed(span.meta)}')
        if span.tags:
            parts.append(f'"tags":{self._packed(list(span.tags))}')
        self._write(",".join(parts) + "}")

    def close(self, at_ns: int, value: Json) -> None:
        """Record the orderly end of the session, and close the file.

        A forked child only closes it.
        """
        try:
            if os.getpid() != self._pid:
                return
            self._write(f'{{"t":"close","session":"{self._session}","at":{at_ns},"value":{self._packed(value)}}}')
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file without a last record."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _packed(self, value: Json) -> str:
        """Return the JSON of a value, with repeated parts moved to the pool."""
        text = encode(value)
        if len(text) < LONG_TEXT and '"role"' not in text and '"$' not in text:
            return text  # nothing in it is pooled
        return encode(pack(value, self._put, self._lists))

    def _put(self, value: Json) -> Key:
        text = encode(value)
        key = blake2b(text.encode("ascii"), digest_size=12).hexdigest()
        if key not in self._known:
            self._write(f'{{"t":"value","key":"{key}","value":{text}}}')
            self._known.add(key)
        return key

    def _write(self, text: str) -> None:
        line = f"{len(text)}:{text}\n".encode("ascii")
        written = os.write(self._file, line)
        if written != len(line):  # a full disk; the rest does not fit either
            raise OSError(28, "only a part of a record could be written", self.path)


def _fast_encoder() -> Callable[[Json], str]:
    """Return a function that encodes JSON.

    It constructs the C encoder once, which halves the cost of a call.
    """
    slow = _json_encoder.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
    c_make_encoder = getattr(_json_encoder, "c_make_encoder", None)
    if c_make_encoder is None:  # another Python than CPython
        return slow
    make = c_make_encoder(None, _refuse, quote, None, ":", ",", False, False, False)

    def fast(value: Json) -> str:
        if type(value) is str:
            return quote(value)
        return "".join(make(value, 0))

    return fast


def _refuse(value: object) -> Json:
    raise ValueError(f"{type(value).__name__} is not JSON")


encode: Final = _fast_encoder()
"""Return the JSON text of a frozen value, ASCII, without spaces."""
