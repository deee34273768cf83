"""A folder of captures: what a service recorded, request by request, with limits on how much is kept.

Theory of operation. Each capture is a journal of its own (`20261121T071500.123456Z-1f2e3d4c.xray`), so a killed process
loses nothing of the others and at most one record of its own. An index (`_store_index`) says what there is, so that
listing 1,000 captures opens one file. What a crash leaves out of it is put right by the next retention: a capture
without an end whose process is gone is read once and gets one (*interrupted*); a journal that the index does not know
gets its lines.

Retention runs when the store is opened and then after every tenth part of the limit, so a folder holds up to a tenth
more than it was told. Captures that are still open are never removed. A store that cannot be written any more warns
once; what it was wrapped around goes on.
"""

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from flow_xray._alive import is_alive
from flow_xray._errors import TraceFormatError, TraceOutputError
from flow_xray._freeze import Limits
from flow_xray._model import Json
from flow_xray._redact import Rules
from flow_xray._result import TraceResult
from flow_xray._session import Session
from flow_xray._store_index import Index
from flow_xray._summary import summary_of
from flow_xray._trace import trace

_ENDING: Final = ".xray"
_FACTS: Final = ("spans", "model_calls", "errors", "tokens", "cost_usd", "unpriced_calls", "duration_ms")

_PROCESS: Final = os.urandom(6).hex()

CaptureStatus: TypeAlias = Literal["ok", "error", "open", "interrupted", "cancelled"]


@dataclass(frozen=True, slots=True)
class Capture:
    """What the index knows about one capture.

    Args:
        id: names its file, and sorts by time.
        name: title of the trace.
        started_at: UTC, ISO 8601 with microseconds.
        status: of the trace; "open" while its process records, "interrupted" when that is gone.
        path: its journal, for `read_journal` and `flow-xray view`.
        duration_ms: None while it is open.
        size_bytes: of the journal when the capture ended.
        spans, model_calls, errors, tokens: counts of the trace.
        cost_usd: of the calls whose cost the program recorded; None when there is none. The index works nothing out.
        meta: what the session itself was told by `trace.meta` outside any span.
    """

    id: str
    name: str
    started_at: str
    status: CaptureStatus
    path: str
    duration_ms: float | None = None
    size_bytes: int = 0
    spans: int = 0
    model_calls: int = 0
    errors: int = 0
    tokens: int = 0
    cost_usd: float | None = None
    meta: dict[str, Json] | None = None


class TraceStore:
    """Keep many captures in a folder.

        store = TraceStore("traces", max_count=1_000, max_age_s=7 * 86_400, max_bytes=500_000_000)
        with store.capture(name="nightly"):
            main()
        for capture in store.captures():
            print(capture.started_at, capture.name, capture.status)

    Args:
        folder: made when it is not there.
        max_count, max_age_s, max_bytes: what is older, or too much, is removed, oldest first; None keeps everything.
        redact: rules beside the built-in ones, for every capture.
        limits: how much of a value is kept, for every capture.
        clock: returns the Unix time in seconds.

    Raises:
        TraceOutputError: the folder cannot be made or written.
    """

    def __init__(
        self,
        folder: "str | os.PathLike[str]",
        *,
        max_count: int | None = None,
        max_age_s: float | None = None,
        max_bytes: int | None = None,
        redact: Rules | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = Path(folder)
        self._index = Index(self.folder)
        self._max_count, self._max_age_s, self._max_bytes = max_count, max_age_s, max_bytes
        self._redact = redact
        self._limits = limits
        self._clock = clock
        self._is_warned = False
        self._count_since = self._bytes_since = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.tidy()
        except OSError as error:
            raise TraceOutputError(
                f"cannot keep traces in {str(self.folder)!r}: because {error.strerror or error}. Give another folder."
            ) from error

    # ------------------------------------------------------------------ record

    @contextmanager
    def capture(self, *, name: str = "trace", caller: str | None = None) -> Iterator[Session]:
        """Record what the `with` block does as one capture.

        Args:
            name: title of the trace.
            caller: a W3C `traceparent`, as in `trace.capture`.

        Raises:
            TraceOutputError: its journal cannot be opened.

        Durability: as of `trace.capture(journal=...)`; the index has the capture from its begin on.
        """
        now = self._clock()
        started = datetime.fromtimestamp(now, UTC)
        capture_id = f"{started:%Y%m%dT%H%M%S.%fZ}-{os.urandom(4).hex()}"
        path = self._path(capture_id)
        session = None
        try:
            with trace.capture(
                name=name, journal=path, redact=self._redact, limits=self._limits, caller=caller
            ) as session:
                begin = {"t": "begin", "id": capture_id, "name": session.name, "started_at": _iso(now)}
                self._try(lambda: self._index.append({**begin, "pid": os.getpid(), "process": _PROCESS}))
                yield session
        finally:
            if session is not None:
                self._try(lambda: self._close(capture_id, session))

    def _close(self, capture_id: str, session: Session) -> None:
        try:
            size = self._path(capture_id).stat().st_size
        except FileNotFoundError:
            return  # another process has ended and removed it already: there was too much
        self._index.append(_end_of(capture_id, session.result(), size))
        self._count_since += 1
        self._bytes_since += size
        is_many = self._max_count is not None and self._count_since * 10 >= self._max_count
        is_large = self._max_bytes is not None and self._bytes_since * 10 >= self._max_bytes
        if is_many or is_large or self._count_since >= 100:
            self.tidy()

    def _try(self, action: Callable[[], object]) -> None:
        """Do something with the files; when it fails, warn once and let the program go on."""
        try:
            action()
        except OSError as error:
            if not self._is_warned:
                self._is_warned = True
                warnings.warn(
                    f"flow-xray: cannot keep the traces in {self.folder}: because {error.strerror or error}. "
                    "The program goes on.",
                    RuntimeWarning,
                    stacklevel=4,
                )

    # ------------------------------------------------------------------ read

    def captures(self, *, name: str | None = None, status: CaptureStatus | None = None) -> list[Capture]:
        """Return what is in the folder, newest first, from the index alone.

        Args:
            name: only captures of this name.
            status: only captures that ended so.
        """
        known, _ = self._index.read()
        found = [self._capture(each) for each in known.values()]
        found.sort(key=lambda capture: capture.id, reverse=True)
        return [each for each in found if name in (None, each.name) and status in (None, each.status)]

    def load(self, capture_id: str) -> TraceResult:
        """Return the trace of a capture.

        Raises:
            TraceFormatError: there is no such capture, or it cannot be read.
        """
        from flow_xray._journal_read import read_journal

        if Path(capture_id).name != capture_id:
            raise TraceFormatError(
                f"cannot load {capture_id!r}: because it is no id of a capture. Take one of captures()."
            )
        return read_journal(self._path(capture_id))

    def report(self) -> dict[str, Json]:
        """Return the totals of the folder and of each name, from the index alone.

        Returns:
            {"captures", "size_bytes", "first_at", "last_at", "names": {name: {"captures", "errors", "interrupted",
            "open", "tokens", "cost_usd", "p50_ms", "p95_ms", "slowest"}}}; errors counts captures that failed, slowest
            is the id of a capture.
        """
        captures = self.captures()
        names: dict[str, list[Capture]] = {}
        for capture in captures:
            names.setdefault(capture.name, []).append(capture)
        return {
            "captures": len(captures),
            "size_bytes": sum(capture.size_bytes for capture in captures),
            "first_at": captures[-1].started_at if captures else None,
            "last_at": captures[0].started_at if captures else None,
            "names": {name: _numbers(group) for name, group in sorted(names.items())},
        }

    # ------------------------------------------------------------------ keep in order

    def tidy(self) -> int:
        """Put right what a crash left, remove what is too old or too much, and return how many were removed.

        Raises:
            OSError: the folder cannot be written.
        """
        self._count_since = self._bytes_since = 0
        with self._index.locked():
            known, lines = self._index.read()
            listed = len(known)
            lost = self._settle(known)
            removed = []
            for each in self._too_many(known):
                with suppress(FileNotFoundError):
                    self._path(each["id"]).unlink()
                del known[each["id"]]
                removed.append(each["id"])
            if removed or lost or lines > 2 * listed + 100:
                self._index.rewrite(known)
        return len(removed)

    def _settle(self, known: dict[str, dict[str, Any]]) -> int:
        """Give an end to captures whose process is gone, and lines to journals that the index does not know.

        Returns:
            How many captures the index has whose journal somebody removed.
        """
        files = {path.stem for path in self.folder.iterdir() if path.suffix == _ENDING}
        lost = [capture_id for capture_id in known if capture_id not in files]
        for capture_id in lost:
            del known[capture_id]
        for capture_id in sorted(files):
            each = known.get(capture_id)
            if each is not None and ("status" in each or (_is_recording(each) and not self._is_closed(capture_id))):
                continue
            try:
                result = self.load(capture_id)
            except TraceFormatError:
                result = TraceResult(name="(damaged)", is_frozen=True)  # killed before its first record was whole
            journal = result.meta.get("journal")
            header = _header_of(self._path(capture_id))
            if (
                each is None
                and is_alive(header.get("pid"))
                and not (isinstance(journal, dict) and journal["is_complete"])
            ):
                continue  # it has only just been opened; its own process will say so
            if each is None:
                at = _iso(header.get("started_at_ns", 0) / 1e9)
                each = {"t": "begin", "id": capture_id, "name": result.name, "started_at": at, "pid": 0}
                self._index.write(each)
            end = _end_of(capture_id, result, self._path(capture_id).stat().st_size)
            if end["status"] == "open" or not result.spans:
                end["status"] = "interrupted"
            self._index.write(end)
            known[capture_id] = {**each, **end}
        return len(lost)

    def _is_closed(self, capture_id: str) -> bool:
        """Say whether a journal has its last record; what looks like it inside a text has its quotes escaped."""
        with self._path(capture_id).open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - 65_536))
            return b':{"t":"close",' in stream.read()

    def _too_many(self, known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        closed = [known[key] for key in sorted(known, reverse=True) if "status" in known[key]]
        oldest = None if self._max_age_s is None else _iso(self._clock() - self._max_age_s)
        kept_bytes = 0
        surplus = []
        for number, each in enumerate(closed, 1):
            kept_bytes += each.get("size_bytes", 0)
            if (
                (self._max_count is not None and number > self._max_count)
                or (self._max_bytes is not None and kept_bytes > self._max_bytes)
                or (oldest is not None and each["started_at"] < oldest)
            ):
                surplus.append(each)
        return surplus

    # ------------------------------------------------------------------ files

    def _path(self, capture_id: str) -> Path:
        return self.folder / f"{capture_id}{_ENDING}"

    def _capture(self, each: dict[str, Any]) -> Capture:
        status: CaptureStatus = each.get("status") or ("open" if _is_recording(each) else "interrupted")
        facts = {key: each[key] for key in (*_FACTS, "size_bytes", "meta") if key in each and key != "unpriced_calls"}
        return Capture(each["id"], each["name"], each["started_at"], status, os.fspath(self._path(each["id"])), **facts)


def in_store(folder: "str | os.PathLike[str]") -> bool:
    """Say whether a folder is one of a store."""
    return Index(Path(folder)).is_there()


def _end_of(capture_id: str, result: TraceResult, size: int) -> dict[str, Any]:
    facts = summary_of(result)
    meta = {key: value for key, value in result.meta.items() if key not in ("journal", "tags", "lines")}
    end = {"t": "end", "id": capture_id, "status": result.status, "size_bytes": size, "meta": meta}
    return {**end, **{key: facts[key] for key in _FACTS}}


def _header_of(path: Path) -> dict[str, Any]:
    """Return the first record of a journal, or nothing."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.readline(10_000).partition(b":")[2])
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_recording(each: dict[str, Any]) -> bool:
    """Say whether the process of a capture without an end still runs; a container gives its processes old numbers."""
    return is_alive(each.get("pid")) and (each.get("pid") != os.getpid() or each.get("process") == _PROCESS)


def _numbers(group: list[Capture]) -> Json:
    times = sorted((each.duration_ms, each.id) for each in group if each.duration_ms is not None)
    costs = [each.cost_usd for each in group if each.cost_usd is not None]
    return {
        "captures": len(group),
        "errors": sum(each.status == "error" for each in group),
        "interrupted": sum(each.status == "interrupted" for each in group),
        "open": sum(each.status == "open" for each in group),
        "tokens": sum(each.tokens for each in group),
        "cost_usd": round(sum(costs), 9) if costs else None,
        "p50_ms": times[(len(times) - 1) // 2][0] if times else None,
        "p95_ms": times[max(0, -(-len(times) * 95 // 100) - 1)][0] if times else None,
        "slowest": times[-1][1] if times else None,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
