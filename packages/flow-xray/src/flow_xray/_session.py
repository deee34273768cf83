"""The recording session: what is being recorded, where in the tree we are, and how a span opens and closes.

Theory of operation. One context variable holds the place where the running code is: a session and the innermost
open span. Every entry sets it to the new place and every exit sets it back to the place it found, *by value*.
No token is ever kept: a token belongs to one context, and generators, callbacks and garbage collection finish
in another one.

A closed session records nothing more: code that still runs under it (a forgotten task, a thread) sees `closed`
and is called as if it were not traced.

A session opened inside a session records for both: its spans are roots in its own result and hang under
the caller's span in the outer one.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from flow_xray._errors import TraceOutputError
from flow_xray._freeze import DEFAULT_LIMITS, Limits, freeze, safe_repr
from flow_xray._model import Json, Span, Status
from flow_xray._redact import Redactor, Rules
from flow_xray._result import TraceResult

if TYPE_CHECKING:
    from flow_xray._journal import JournalWriter

Place: TypeAlias = "tuple[Session, Span | None]"

here: Final[ContextVar["Place | None"]] = ContextVar("flow_xray_here", default=None)


def leave(mine: Place, before: "Place | None", error: BaseException | None = None) -> None:
    """Put back the place that was there before `mine`.

    A coroutine that is closed or collected gets its GeneratorExit in whatever context does that, often a stranger's;
    there the place is not ours to change.
    """
    if not isinstance(error, GeneratorExit) or here.get() is mine:
        here.set(before)


# A span id is 8 hex digits of this process and 8 that count, so that neighbours compress well.
_id_prefix = os.urandom(4).hex()
_id_count = count(1)


def _new_ids_after_fork() -> None:
    global _id_prefix, _id_count
    _id_prefix, _id_count = os.urandom(4).hex(), count(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_ids_after_fork)


def new_trace_id() -> str:
    """Return 32 random hex digits."""
    return os.urandom(16).hex()


class Session:
    """Record spans until it is closed.

    Args:
        name: title of the trace.
        redactor: applied to every value before it is kept.
        limits: how much of a value is kept.
        journal: where each start and end is also written at once, or None.
        outer: the place in an outer session that records the same spans.
        clock: returns a monotonic time in nanoseconds; its zero is mapped to `wall_ns` once.
        wall_ns: Unix time that belongs to the first reading of `clock`.
        caller: trace id and span id of a call in another process, under which this session hangs.

    `foreign_caller` may be set by a recorder beside this one (OpenTelemetry): it gets the innermost span of ours and
    returns the id of a span of its own that lies inside it here and now, or None.
    """

    __slots__ = (
        *(
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
        ),
        *("limits", "meta", "name", "outer", "redactor", "spans", "started_at_ns", "tags", "trace_id", "value"),
    )

    def __init__(
        self,
        name: str = "trace",
        *,
        redactor: Redactor | None = None,
        limits: Limits = DEFAULT_LIMITS,
        journal: "JournalWriter | None" = None,
        outer: "Place | None" = None,
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
        self.trace_id = new_trace_id() if caller is None else caller[0]
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
        """This session and those that it was opened in, innermost first."""
        return self._chain

    def now_ns(self) -> int:
        """Return the Unix time in nanoseconds, never going back within the session."""
        return self.clock() + self._offset

    def redactor_for(self, rules: Rules | None) -> Redactor:
        """Return the session's redactor with a function's own rules added."""
        if not rules:
            return self.redactor
        derived = self._derived.get(rules)
        if derived is None:
            derived = self._derived[rules] = Redactor(rules, self.redactor)
        return derived

    def freeze(self, value: object, redactor: Redactor | None = None) -> Json:
        """Return a bounded, redacted JSON copy of `value`."""
        return freeze(value, self.redactor if redactor is None else redactor, self.limits)

    # ------------------------------------------------------------------ spans

    def open(self, parent: Span | None, name: str, kind: str, given: Json, code: str = "") -> Span:
        """Record that a call began; `given` is frozen already, `code` says where the function stands."""
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

    def adopt(self, span: Span) -> None:
        """Keep an open span that another recorder made; its values are frozen already."""
        self._keep(span)
        if self.journal is not None:
            self.write_record(self.journal.start, span)

    def finish(self, span: Span) -> None:
        """Record the end of an adopted span, and once more what it began with, because only now everything is known."""
        for session in self._chain:
            if session.journal is not None:
                session.write_record(session.journal.end_of_adopted, span)

    def close_span(self, span: Span, status: Status = "ok") -> None:
        """Record that a call ended; its output, error and meta are set already."""
        took = self.clock() + self._offset - span.started_at_ns
        span.duration_ns = max(0, took)
        span.status = status
        if not span.id.startswith(_id_prefix):
            return  # this is a forked child, and the span is its parent's, which will say itself how it ended
        if self.journal is not None:
            self.write_record(self.journal.end, span)
        if self.outer is not None:
            for session in self._chain[1:]:
                if session.journal is not None:
                    session.write_record(session.journal.end, span)

    def outer_id(self) -> str | None:
        """Return the id of the span under which this session's roots hang, or None."""
        if self.outer is None:
            return self._caller_id
        session, span = self.outer
        return span.id if span is not None else session.outer_id()

    def _keep_everywhere(self, span: Span) -> None:
        """Keep a span in this session and in the sessions around it."""
        for session in self._chain:
            session.spans.append(span)
            if session is not self and session.journal is not None:
                session.write_record(session.journal.start, span)

    def fail_span(self, span: Span, error: BaseException, redactor: Redactor | None = None) -> None:
        """Record that a call ended by an exception of any kind."""
        try:
            span.error = self._describe(span, error, redactor or self.redactor)
        except Exception as trouble:  # noqa: BLE001  an exception class with a broken __str__ must not hide the exception
            span.error = {
                "type": type(error).__name__,
                "message": f"<{type(trouble).__name__} while it was read>",
                "traceback": "",
            }
        self.close_span(span, "cancelled" if is_cancellation(error) else "error")

    def _describe(self, span: Span, error: BaseException, redactor: Redactor) -> dict[str, Json]:
        kind = type(error)
        name = (
            kind.__name__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
        )
        try:
            message = str(error)
        except Exception:  # noqa: BLE001  whatever a foreign str raises
            message = safe_repr(error)
        text: Json = self.freeze(message, redactor)
        raised = self.last_raised
        if raised is not None and raised[0] is error:
            return {"type": name, "message": text, "traceback": "", "origin": raised[1]}
        self.last_raised = (error, span.id)
        return {"type": name, "message": text, "traceback": self.freeze(_traceback_of(error), redactor)}

    def add_meta(self, span: Span | None, values: Mapping[str, object]) -> None:
        """Add what is known beside the values to a span, or to the trace itself."""
        frozen = self.freeze(dict(values))
        assert isinstance(frozen, dict)
        if span is None:
            self.meta.update(frozen)
        else:
            span.meta.update(frozen)
        self._note("meta", span, frozen)

    def add_tag(self, span: Span | None, name: str, values: Mapping[str, object]) -> None:
        """Set a mark in time on a span, or on the trace itself."""
        frozen = self.freeze({"name": name, "at_ns": self.now_ns(), **values})
        assert isinstance(frozen, dict)
        (self.tags if span is None else span.tags).append(frozen)
        self._note("tag", span, frozen)

    def _note(self, word: str, span: Span | None, frozen: dict[str, Json]) -> None:
        for session in self._chain if span is not None else (self,):
            journal = session.journal
            if journal is not None:
                session.write_record(partial(journal.note, word, frozen), span)

    def write_record(self, write: Callable[[Any], None], span: Span | None) -> None:
        """Write one journal record; on failure stop the journal, warn once, and let the program go on."""
        try:
            write(span)
        except (OSError, ValueError) as error:
            journal, self.journal = self.journal, None
            if journal is not None:
                journal.abandon()
                _warn(
                    f"flow-xray: cannot write the journal {journal.path}: because {error}. Recording goes on.",
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
        """Return what has been recorded so far."""
        from copy import copy

        meta = dict(self.meta)
        if self.tags:
            meta["tags"] = list(self.tags)
        return TraceResult(
            name=self.name,
            spans=[copy(span) if span.duration_ns is None else span for span in self.spans],
            value=self.value,
            meta=meta,
            trace_id=self.trace_id,
            is_frozen=True,
        )


def is_cancellation(error: BaseException) -> bool:
    """Say whether an exception means *told to stop* rather than *failed*."""
    if isinstance(error, GeneratorExit | KeyboardInterrupt):
        return True
    if isinstance(error, SystemExit):
        return error.code in (None, 0)
    return type(error).__name__ in ("CancelledError", "Cancelled")


def _traceback_of(error: BaseException) -> str:
    """Format the traceback without the recorder's own frames."""
    import traceback

    own = os.path.dirname(__file__)  # noqa: PTH120  pathlib costs 9 ms at import

    def drop_own(report: traceback.TracebackException) -> None:
        kept = [frame for frame in report.stack if not frame.filename.startswith(own)]
        report.stack[:] = kept
        for other in (report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())):
            if other is not None:
                drop_own(other)

    report = traceback.TracebackException.from_exception(error, limit=-64)
    drop_own(report)
    return "".join(report.format())


def open_journal(path: "str | os.PathLike[str]") -> "JournalWriter":
    """Open a journal for appending.

    Raises:
        TraceOutputError: the path cannot be written, or holds something else than a journal.
    """
    from flow_xray._journal import JournalWriter

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
