"""A folder of captures: the recordings of a service, one per request, with limits on its size.

Theory of operation. Each capture is a separate journal (`20261121T071500.123456Z-1f2e3d4c.xray`),
so a killed process loses at most one record of its own capture and nothing of others. An index
(module `index`) lists the captures, so that listing 1,000 of them opens one file. The next cleanup
repairs the index after a crash: a capture without an end whose process has ended is read once and
gets an end (*interrupted*); a journal that is not in the index is added.

Cleanup runs when the store is opened and then after every tenth of the limit, so a folder may
exceed its limit by a tenth. Open captures are never removed. A store that can no longer be written
to warns once; the recorded program continues.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from flow_xray._captures.capture import (
    PROCESS_ID,
    Capture,
    capture_of,
    end_of,
    header_of,
    is_recording,
    iso_time,
    report_of,
    started_at_s,
)
from flow_xray._captures.index import Index
from flow_xray._data.span import Json, Status
from flow_xray._errors import TraceFormatError, TraceOutputError
from flow_xray._read.liveness import is_alive
from flow_xray._record.session import Session
from flow_xray._record.trace import trace
from flow_xray._redaction.freeze import Limits
from flow_xray._redaction.redactor import Rules
from flow_xray._result import TraceResult, read_journal
from flow_xray._write.whole_file import make_private_folder

_ENDING: Final = ".xray"


class TraceStore:
    """Store many captures in a folder.

        store = TraceStore("traces", max_count=1_000, max_age_s=7 * 86_400, max_bytes=500_000_000)
        with store.capture(name="nightly"):
            main()
        for capture in store.captures():
            print(capture.started_at, capture.name, capture.status)

    Args:
        folder: The folder; created when it does not exist.
        max_count, max_age_s, max_bytes: Captures beyond these limits are removed, oldest first;
            None is no limit.
        redact: Rules in addition to the built-in ones, for every capture.
        limits: How much of a value is recorded, for every capture.
        clock: Returns the Unix time in seconds.

    Raises:
        TraceOutputError: The folder cannot be created or written to.
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
            make_private_folder(self.folder)
            self.tidy()
        except OSError as error:
            raise TraceOutputError(
                f"cannot store traces in {str(self.folder)!r}: because {error.strerror or error}. Give another folder."
            ) from error

    # ------------------------------------------------------------------ record

    @contextmanager
    def capture(self, *, name: str = "trace", caller: str | None = None) -> Iterator[Session]:
        """Record the `with` block as one capture.

        Args:
            name: Title of the trace.
            caller: A W3C `traceparent`, as in `trace.capture`.

        Raises:
            TraceOutputError: Its journal cannot be opened.

        Durability: as with `trace.capture(journal=...)`; the capture is in the index from its start
        on.
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
                begin = {"t": "begin", "id": capture_id, "name": session.name, "started_at": iso_time(now)}
                self._try(lambda: self._index.append({**begin, "pid": os.getpid(), "process": PROCESS_ID}))
                yield session
        finally:
            if session is not None:
                self._try(lambda: self._close(capture_id, session))

    def _close(self, capture_id: str, session: Session) -> None:
        try:
            size = self._path(capture_id).stat().st_size
        except FileNotFoundError:
            return  # another process has removed it already, because of the limits
        self._index.append(end_of(capture_id, session.result(), size))
        self._count_since += 1
        self._bytes_since += size
        is_many = self._max_count is not None and self._count_since * 10 >= self._max_count
        is_large = self._max_bytes is not None and self._bytes_since * 10 >= self._max_bytes
        if is_many or is_large or self._count_since >= 100:
            self.tidy()

    def _try(self, action: Callable[[], object]) -> None:
        """Call `action`, which writes files.

        When it fails, warn once and let the program continue.
        """
        try:
            action()
        except OSError as error:
            if not self._is_warned:
                self._is_warned = True
                warnings.warn(
                    f"flow-xray: cannot store traces in {self.folder}: because {error.strerror or error}. "
                    "The program continues.",
                    RuntimeWarning,
                    stacklevel=4,
                )

    # ------------------------------------------------------------------ read

    def captures(self, *, name: str | None = None, status: Status | None = None) -> list[Capture]:
        """Return the captures, newest first, from the index alone.

        Args:
            name: Only captures of this name.
            status: Only captures with this status.
        """
        known, _ = self._index.read()
        found = [capture_of(each, self._path(each["id"])) for each in known.values()]
        found.sort(key=lambda capture: capture.id, reverse=True)
        return [each for each in found if name in (None, each.name) and status in (None, each.status)]

    def load(self, capture_id: str) -> TraceResult:
        """Return the trace of a capture.

        Raises:
            TraceFormatError: There is no such capture, or it cannot be read.
        """
        if Path(capture_id).name != capture_id:
            raise TraceFormatError(
                f"cannot load {capture_id!r}: because it is not the id of a capture. Give an id from captures()."
            )
        return read_journal(self._path(capture_id))

    def report(self) -> dict[str, Json]:
        """Return the totals of the folder and of each name, from the index alone.

        Returns:
            {"captures", "size_bytes", "first_at", "last_at", "names": {name: {"captures", "errors",
            "interrupted", "open", "tokens", "cost_usd", "p50_ms", "p95_ms", "slowest"}}}; errors
            counts captures that failed, slowest is the id of a capture.
        """
        return report_of(self.captures())

    # ------------------------------------------------------------------ cleanup

    def tidy(self) -> int:
        """Repair the index after a crash and remove captures beyond the limits; return how many.

        Raises:
            OSError: The folder cannot be written.
        """
        self._count_since = self._bytes_since = 0
        with self._index.locked():
            known, lines = self._index.read()
            listed = len(known)
            lost = self._repair(known)
            removed = []
            for each in self._beyond_limits(known):
                with suppress(FileNotFoundError):
                    self._path(each["id"]).unlink()
                del known[each["id"]]
                removed.append(each["id"])
            if removed or lost or lines > 2 * listed + 100:
                self._index.rewrite(known)
        return len(removed)

    def _repair(self, known: dict[str, dict[str, Any]]) -> int:
        """Add missing ends of captures whose process has ended, and journals missing in the index.

        Returns:
            The number of captures in the index whose journal has been removed.
        """
        files = {path.stem for path in self.folder.iterdir() if path.suffix == _ENDING}
        lost = [capture_id for capture_id in known if capture_id not in files]
        for capture_id in lost:
            del known[capture_id]
        for capture_id in sorted(files):
            each = known.get(capture_id)
            if each is not None and ("status" in each or (is_recording(each) and not self._is_closed(capture_id))):
                continue
            try:
                result = self.load(capture_id)
            except TraceFormatError:
                result = TraceResult(name="(damaged)", is_frozen=True)  # killed before its first record was complete
            journal = result.meta.get("journal")
            header = header_of(self._path(capture_id))
            if (
                each is None
                and is_alive(header.get("pid"))
                and not (isinstance(journal, dict) and journal["is_complete"])
            ):
                continue  # it has only just been opened; its own process will add it
            if each is None:
                at = iso_time(started_at_s(header))
                each = {"t": "begin", "id": capture_id, "name": result.name, "started_at": at, "pid": 0}
                self._index.write(each)
            end = end_of(capture_id, result, self._path(capture_id).stat().st_size)
            if end["status"] == "open" or not result.spans:
                end["status"] = "interrupted"
            self._index.write(end)
            known[capture_id] = {**each, **end}
        return len(lost)

    def _is_closed(self, capture_id: str) -> bool:
        """Return whether a journal has its last record.

        Inside a recorded text its quotes are escaped.
        """
        with self._path(capture_id).open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - 65_536))
            return b':{"t":"close",' in stream.read()

    def _beyond_limits(self, known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        closed = [known[key] for key in sorted(known, reverse=True) if "status" in known[key]]
        oldest = None if self._max_age_s is None else iso_time(self._clock() - self._max_age_s)
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


def is_store(folder: "str | os.PathLike[str]") -> bool:
    """Return whether a folder belongs to a store."""
    return Index(Path(folder)).exists()
