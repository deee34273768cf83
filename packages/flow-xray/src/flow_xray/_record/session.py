"""The recording session: the current position in the tree, opening and closing spans.

Theory of operation. One context variable holds the position of the running code: a session and its
innermost open span. Every entry sets it to the new position, and every exit restores the previous
position, *by value*. No token is stored: a token belongs to one context, and generators,
callbacks and garbage collection finish in another one.

A closed session records nothing more: code that still runs under it (a forgotten task, a thread)
sees `closed` and is called as if it were not traced.

A session opened inside a session records for both: its spans are roots in its own result and
children of the caller's span in the outer one.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from flow_xray._data.span import Json, Span, Status
from flow_xray._errors import TraceOutputError
from flow_xray._redaction.freeze import DEFAULT_LIMITS, Limits, freeze
from flow_xray._redaction.redactor import Redactor, Rules
from flow_xray._result import TraceResult

if TYPE_CHECKING:
    from flow_xray._write.journal import JournalWriter

Position: TypeAlias = "tuple[Session, Span | None]"

current_position: Final[ContextVar["Position | None"]] = ContextVar("flow_xray_position", default=None)


def restore(before: "Position | None", own: Position, error: BaseException) -> None:
    """Restore the position `before` when the code with the position `own` has failed.

    A coroutine that is closed or collected receives its GeneratorExit in an arbitrary context; a
    position that is not its own stays unchanged there.
    """
    if not isinstance(error, GeneratorExit) or current_position.get() is own:
        current_position.set(before)


# A span id is 8 hex digits of this process and 8 of a counter, so that neighbours compress well.
_id_prefix = os.urandom(4).hex()
_id_count = count(1)


def _new_ids_after_fork() -> None:
    global _id_prefix, _id_count
    _id_prefix, _id_count = os.urandom(4).hex(), count(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_ids_after_fork)


class Session:
    """Record spans until it is closed.

    Args:
        name: Title of the trace.
        redactor: Applied to every value before it is stored.
        limits: How much of a value is recorded.
        journal: The journal to which each start and end is written at once, or None.
        outer: The position in an outer session that records the same spans.
        clock: Returns a monotonic time in nanoseconds; its first reading is mapped to `wall_ns`.
        wall_ns: Unix time that belongs to the first reading of `clock`.
        caller: Trace id and span id of a call in another process that is the parent of the roots.

    Raises:
        TraceOutputError: The journal cannot be written.

    Another recorder (OpenTelemetry) may set `foreign_caller`: it takes the innermost span of this
    session and returns the id of its own span that is open inside it, or None.
    """

    __slots__ = (
        "_caller_id",
        "_chain",
        "_derived",
        "_keep",
        "_offset",
        "_thread",
        "clock",
        "closed",
        "foreign_caller",
        "journal",
        "last_raised",
        "limits",
        "meta",
        "name",
        "outer",
        "redactor",
        "spans",
        "started_at_ns",
        "tags",
        "trace_id",
        "value",
    )

    def __init__(
        self,
        name: str = "trace",
        *,
        redactor: Redactor | None = None,
        limits: Limits = DEFAULT_LIMITS,
        journal: "JournalWriter | None" = None,
        outer: "Position | None" = None,
        clock: Callable[[], int] = time.perf_counter_ns,
        wall_ns: int | None = None,
        caller: tuple[str, str] | None = None,
    ) -> None:
        self.redactor = redactor if redactor is not None else Redactor()
        self.name = self.redactor.text(name)
        self.limits = limits
        self.journal = journal
        from threading import current_thread

        self._thread = current_thread
        self.clock = clock
        self.closed = False
        self.foreign_caller: Callable[[Span | None], str | None] | None = None
        self.spans: list[Span] = []
        self.meta: dict[str, Json] = {}
        self.tags: list[dict[str, Json]] = []
        self.value: Json = None
        self.trace_id = os.urandom(16).hex() if caller is None else caller[0]
        self._caller_id = None if caller is None else caller[1]
        self.last_raised: tuple[BaseException, str] | None = None
        self._derived: dict[object, Redactor] = {}
        self.outer = outer
        self._chain: tuple[Session, ...] = (self, *(outer[0].chain if outer is not None else ()))
        self._keep = self.spans.append if outer is None else self._keep_everywhere
        self.started_at_ns = time.time_ns() if wall_ns is None else wall_ns
        self._offset = self.started_at_ns - clock()
        if journal is not None:
            try:
                journal.header(self.name, self.trace_id, self.started_at_ns)
            except OSError as error:
                journal.abandon()
                raise TraceOutputError(_cannot_write(journal.path, error)) from error

    @property
    def chain(self) -> "tuple[Session, ...]":
        """This session and the sessions around it, innermost first."""
        return self._chain

    def now_ns(self) -> int:
        """Return the Unix time in nanoseconds; it never goes back within the session."""
        return self.clock() + self._offset

    def redactor_for(self, rules: Rules | None) -> Redactor:
        """Return the session's redactor extended by a function's own rules."""
        if not rules:
            return self.redactor
        derived = self._derived.get(rules)
        if derived is None:
            derived = self._derived[rules] = Redactor(rules, self.redactor)
        return derived

    def freeze(self, value: object, redactor: Redactor | None = None) -> Json:
        """Return a bounded, redacted JSON copy of `value`."""
        return freeze(value, self.redactor if redactor is None else redactor, self.limits)

    def freeze_object(self, value: object) -> dict[str, Json]:
        """Return a bounded, redacted JSON copy of a mapping; empty for any other value."""
        frozen = self.freeze(value)
        return frozen if isinstance(frozen, dict) else {}

    # ------------------------------------------------------------------ spans

    def open_span(self, parent: Span | None, name: str, kind: str, given: Json, code: str = "") -> Span:
        """Record that a call began.

        Args:
            parent: The innermost open span of this session, or None.
            name: The name of the call; redacted already.
            kind: As in `Span`.
            given: The input, frozen already.
            code: Location of the called function.
        """
        caller = parent.id if parent is not None else self.outer_id()
        if self.foreign_caller is not None:
            caller = self.foreign_caller(parent) or caller
        span = Span(
            f"{_id_prefix}{next(_id_count) & 0xFFFFFFFF:08x}",
            caller,
            name,
            kind,
            self.clock() + self._offset,
            None,
            "open",
            given,
            None,
            None,
            {},
            [],
            self._thread().name,
            code,
        )
        self._keep(span)
        if self.journal is not None:
            self.write_record(self.journal.start, span)
        return span

    def close_span(self, span: Span, status: Status = "ok") -> None:
        """Record that a call ended; its output, error and meta are set already."""
        took = self.clock() + self._offset - span.started_at_ns
        span.duration_ns = max(0, took)
        span.status = status
        if not span.id.startswith(_id_prefix):
            return  # this is a forked child; its parent owns the span and records the end
        if self.journal is not None:
            self.write_record(self.journal.end, span)
        if self.outer is not None:
            for session in self._chain[1:]:
                if session.journal is not None:
                    session.write_record(session.journal.end, span)

    def fail_span(self, span: Span, error: BaseException, redactor: Redactor | None = None) -> None:
        """Record that a call ended by an exception of any kind."""
        from flow_xray._record.exceptions import is_cancellation

        try:
            span.error = self._describe(span, error, redactor or self.redactor)
        except Exception as failure:  # noqa: BLE001  an exception with a broken __str__ must not hide the exception
            span.error = {
                "type": type(error).__name__,
                "message": f"<{type(failure).__name__} while it was read>",
                "traceback": "",
            }
        self.close_span(span, "cancelled" if is_cancellation(error) else "error")

    def adopt_span(self, span: Span) -> None:
        """Record an open span that another recorder made; its values are frozen already."""
        self._keep(span)
        if self.journal is not None:
            self.write_record(self.journal.start, span)

    def finish_adopted(self, span: Span) -> None:
        """Record the end of an adopted span, with its final name, kind and input."""
        for session in self._chain:
            if session.journal is not None:
                session.write_record(session.journal.end_of_adopted, span)

    def outer_id(self) -> str | None:
        """Return the id of the span that is the parent of this session's roots, or None."""
        if self.outer is None:
            return self._caller_id
        session, span = self.outer
        return span.id if span is not None else session.outer_id()

    def _keep_everywhere(self, span: Span) -> None:
        """Add a span to this session and to the sessions around it."""
        for session in self._chain:
            session.spans.append(span)
            if session is not self and session.journal is not None:
                session.write_record(session.journal.start, span)

    def _describe(self, span: Span, error: BaseException, redactor: Redactor) -> dict[str, Json]:
        from flow_xray._record.exceptions import message_of, traceback_of, type_name

        message = self.freeze(message_of(error), redactor)
        described: dict[str, Json] = {"type": type_name(error), "message": message, "traceback": ""}
        raised = self.last_raised
        if raised is not None and raised[0] is error:
            return {**described, "origin": raised[1]}
        self.last_raised = (error, span.id)
        return {**described, "traceback": self.freeze(traceback_of(error), redactor)}

    # ------------------------------------------------------------------ meta and tags

    def add_meta(self, span: Span | None, values: Mapping[str, object]) -> None:
        """Add facts to a span, or to the trace itself."""
        frozen = self.freeze_object(dict(values))
        if span is None:
            self.meta.update(frozen)
        else:
            span.meta.update(frozen)
        self._write_note("meta", span, frozen)

    def add_tag(self, span: Span | None, name: str, values: Mapping[str, object]) -> None:
        """Add a mark in time to a span, or to the trace itself."""
        frozen = self.freeze_object({"name": name, "at_ns": self.now_ns(), **values})
        (self.tags if span is None else span.tags).append(frozen)
        self._write_note("tag", span, frozen)

    def _write_note(self, record: str, span: Span | None, frozen: dict[str, Json]) -> None:
        for session in self._chain if span is not None else (self,):
            journal = session.journal
            if journal is not None:
                session.write_record(partial(journal.note, record, frozen), span)

    def write_record(self, write: Callable[[Any], None], span: Span | None) -> None:
        """Write one journal record; on failure stop the journal, warn once, and continue."""
        try:
            write(span)
        except (OSError, ValueError) as error:
            journal, self.journal = self.journal, None
            if journal is not None:
                journal.abandon()
                _warn(
                    f"flow-xray: cannot write the journal {journal.path}: because {error}. "
                    "Recording continues without it.",
                    stacklevel=5,
                )

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Stop recording; spans that are still open stay open in the result."""
        if self.closed:
            return
        self.closed = True
        self.last_raised = None
        journal, self.journal = self.journal, None
        if journal is not None:
            try:
                journal.close(self.now_ns(), self.value)
            except OSError as error:
                _warn(
                    f"flow-xray: cannot finish the journal {journal.path}: because {error}.",
                    stacklevel=4,
                )

    def result(self) -> TraceResult:
        """Return the trace recorded so far."""
        meta = dict(self.meta)
        if self.tags:
            meta["tags"] = list(self.tags)
        return TraceResult(
            name=self.name,
            spans=[span if span.duration_ns is not None else self._as_open(span) for span in self.spans],
            value=self.value,
            meta=meta,
            trace_id=self.trace_id,
            is_frozen=True,
        )

    def _as_open(self, span: Span) -> Span:
        """Return a copy of an open span.

        Its block may have set an output or error without freezing it.
        """
        from dataclasses import replace

        error = None if span.error is None else self.freeze_object(span.error)
        return replace(span, output=self.freeze(span.output), error=error)


def open_journal(path: "str | os.PathLike[str]") -> "JournalWriter":
    """Open a journal for appending.

    Raises:
        TraceOutputError: The path cannot be written, or holds something other than a journal.
    """
    from flow_xray._write.journal import JournalWriter

    try:
        return JournalWriter(os.fspath(path))
    except TraceOutputError:
        raise
    except OSError as error:
        raise TraceOutputError(_cannot_write(os.fspath(path), error)) from error


def _warn(message: str, *, stacklevel: int) -> None:
    import warnings

    warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)


def _cannot_write(path: str, error: OSError) -> str:
    return f"cannot write the journal {path!r}: because {error.strerror or error}. Give another path."
