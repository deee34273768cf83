"""`trace`: the object that records a program."""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar, overload

from flow_xray._data.span import Span
from flow_xray._record.session import Session, current_position, open_journal, restore
from flow_xray._record.wrap import Plan, wrap
from flow_xray._redaction.freeze import DEFAULT_LIMITS, Limits
from flow_xray._redaction.redactor import Redactor, Rules
from flow_xray._result import TraceResult

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Trace:
    """Record calls. Use the instance `trace`; there is no need for another one.

        @trace(kind="tool")
        def search(query): ...

        result = trace.run(search, "loom")
        result.to_html("trace.html")

    Outside a session a traced function costs one read of a context variable.
    """

    def __init__(self) -> None:
        self._limits: Limits = DEFAULT_LIMITS
        self._rules: tuple[Any, ...] = ()

    @overload
    def __call__(self, fn: F, /) -> F: ...
    @overload
    def __call__(
        self,
        /,
        *,
        name: str | None = None,
        kind: str = "function",
        redact: Rules | None = None,
        capture_output: bool = True,
    ) -> Callable[[F], F]: ...
    def __call__(
        self,
        fn: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        kind: str = "function",
        redact: Rules | None = None,
        capture_output: bool = True,
    ) -> Any:
        """Trace a function, coroutine function, generator or async generator.

        Args:
            fn: The function, when used without arguments.
            name: Shown instead of the function's qualified name.
            kind: "function", "agent", "llm", "tool", "retrieval", ...; determines how the page
                shows it.
            redact: Rules in addition to the session's: keys, compiled patterns, callables
                `(key, value) -> value`.
            capture_output: False omits the returned value from the trace.

        Raises:
            TypeError: The decorated object is not callable.
        """
        rules = _as_rules(redact)

        def decorate(target: Callable[..., Any]) -> Callable[..., Any]:
            if isinstance(target, staticmethod | classmethod):
                return type(target)(decorate(target.__func__))
            if not callable(target):
                raise TypeError(
                    f"cannot trace {target!r}: because it is not callable. Put @trace on a function or a method."
                )
            return wrap(target, Plan(target, name, kind, rules, capture_output))

        return decorate if fn is None else decorate(fn)

    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> TraceResult:
        """Call `fn` in a new session and return the trace.

        `result.value` is the return value of the call, frozen.

        Raises:
            BaseException: Any exception of `fn`; `TraceResult.of(error)` returns the trace of that
                call.
        """
        name = _name_of(fn)
        with self.capture(name=name) as session:
            try:
                session.value = session.freeze(self._as_root(fn)(*args, **kwargs))
            except BaseException as error:
                _attach(error, session)
                raise
        return session.result()

    async def arun(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> TraceResult:
        """Await `fn` in a new session and return the trace.

        Raises:
            BaseException: Any exception of `fn`; `TraceResult.of(error)` returns the trace of that
                call.
        """
        name = _name_of(fn)
        with self.capture(name=name) as session:
            try:
                session.value = session.freeze(await self._as_root(fn)(*args, **kwargs))
            except BaseException as error:
                _attach(error, session)
                raise
        return session.result()

    def _as_root(self, fn: Callable[P, T]) -> Callable[P, T]:
        return fn if _is_traced(fn) else self(fn)

    @contextmanager
    def capture(
        self,
        *,
        name: str = "trace",
        journal: "str | os.PathLike[str] | None" = None,
        redact: Rules | None = None,
        limits: Limits | None = None,
        lines: bool = False,
        caller: str | None = None,
    ) -> Iterator[Session]:
        """Record everything traced inside the `with` block.

        `session.result()` returns the trace, also before the end of the block.

        Args:
            name: Title of the trace.
            journal: A `.xray` file; every start and end is appended to it at once, so a killed
                process loses at most the record that it was writing.
            redact: Rules in addition to the built-in ones: keys, compiled patterns, callables
                `(key, value) -> value`.
            limits: How much of a value is recorded.
            lines: Also record which lines of the traced functions ran, to find the branches that
                the run did not take. Nearly free from Python 3.12 on; before, it slows down every
                call of the block.
            caller: A W3C `traceparent` (of a request's header, say): the span of another process
                that is the parent of this session's roots. By default, the environment variable
                TRACEPARENT is used. An invalid one is ignored.

        Raises:
            TraceOutputError: The journal cannot be opened.

        Durability: a record survives the death of the process at once; it survives the death of the
        machine when the system has written it back.
        """
        from flow_xray._record.threads import context_in_threads

        position = current_position.get()
        outer = position if position is not None and not position[0].closed else None
        session = Session(
            name,
            redactor=Redactor((*self._rules, *(_as_rules(redact) or ())), outer[0].redactor if outer else None),
            limits=limits or self._limits,
            journal=None if journal is None else open_journal(journal),
            outer=outer,
            caller=None if outer is not None else _caller(caller),
        )
        own = (session, None)
        current_position.set(own)
        try:
            with context_in_threads():
                if not lines:
                    yield session
                else:
                    from flow_xray._record.lines import watching_lines

                    with watching_lines() as watch:
                        try:
                            yield session
                        finally:
                            session.add_meta(None, {"lines": watch.facts()})
        except BaseException as error:
            restore(position, own, error)
            raise
        else:
            current_position.set(position)
        finally:
            session.close()

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: str = "function",
        input: object = None,  # noqa: A002  the name of the span's member
        **meta: object,
    ) -> Iterator[Span]:
        """Record the `with` block as one span; without a session the span is discarded.

        Args:
            name: The name of the span.
            kind: As in `@trace`.
            input: Its input; frozen at once.
            **meta: Facts about the call: model, run_id, ...
        """
        position = current_position.get()
        if position is None or position[0].closed:
            yield Span("0" * 16, None, name, kind, status="open")
            return
        session, parent = position
        given = session.freeze(input)
        span = session.open_span(parent, session.redactor.text(name), kind, given)
        if meta:
            session.add_meta(span, meta)
        own = (session, span)
        current_position.set(own)
        span.freeze_output = session.freeze
        try:
            yield span
        except BaseException as error:
            restore(position, own, error)
            session.fail_span(span, error)
            raise
        finally:
            del span.freeze_output
        current_position.set(position)
        span.output = session.freeze(span.output)
        if span.error is not None:  # set by the block: it failed without an exception
            failure = session.freeze(span.error)
            if not isinstance(failure, dict):
                failure = {"type": "error", "message": failure, "traceback": ""}
            span.error = failure
        session.close_span(span, "ok" if span.error is None else "error")

    def meta(self, **values: object) -> None:
        """Add facts to the current span.

        Known names: model=, input_tokens= (cache included), output_tokens=, cost_usd=, and those of
        `Span.meta`; others are shown as they are.

        `usage=` takes a provider's response or usage object (OpenAI, Anthropic, pydantic-ai, or a
        dict) and adds its token counts, counted the same way for every provider.
        """
        position = current_position.get()
        if position is not None and not position[0].closed:
            if "usage" in values:
                values = _with_counts(values)
            position[0].add_meta(position[1], values)

    def tag(self, name: str, /, **values: object) -> None:
        """Set a mark in time on the current span."""
        position = current_position.get()
        if position is not None and not position[0].closed:
            position[0].add_tag(position[1], name, values)

    def environment(self) -> dict[str, str]:
        """Return environment variables that make a child process record under the current span.

            subprocess.run(command, env={**os.environ, **trace.environment()})

        The child writes its own journal; `read_journal(ours, theirs)` joins both into one trace.
        Empty when nothing is being recorded. Source: W3C Trace Context, in the variable
        TRACEPARENT.
        """
        position = current_position.get()
        if position is None or position[0].closed:
            return {}
        from flow_xray._record.traceparent import written

        session, span = position
        caller = span.id if span is not None else session.outer_id()
        return {"TRACEPARENT": written(session.trace_id, caller or session.trace_id[:16])}

    def active(self) -> bool:
        """Return whether anything is being recorded here."""
        position = current_position.get()
        return position is not None and not position[0].closed

    def configure(self, *, redact: Rules | None = None, limits: Limits | None = None, **sizes: int) -> None:
        """Set the defaults of later sessions.

        Args:
            redact: Rules for every session; they replace those of an earlier call.
            limits: How much of a value is recorded.
            **sizes: Single limits by name: max_string, max_items, max_depth, max_nodes.

        Raises:
            TypeError: There is no such limit, or a rule is invalid.
            ValueError: A limit is below 0.
        """
        unknown = sorted(sizes.keys() - Limits.__annotations__.keys())
        if unknown:
            raise TypeError(
                f"cannot configure {unknown[0]}: because there is no such limit. Give one of "
                f"{', '.join(Limits.__annotations__)}."
            )
        rules = self._rules if redact is None else _as_rules(redact) or ()
        Redactor(rules)  # raises for an invalid rule before anything is changed
        if limits is not None or sizes:
            self._limits = replace(limits or self._limits, **sizes)
        self._rules = rules


def _caller(traceparent: str | None) -> tuple[str, str] | None:
    text = os.environ.get("TRACEPARENT", "") if traceparent is None else traceparent
    if not text:
        return None
    from flow_xray._record.traceparent import parse

    return parse(text)


def _with_counts(values: dict[str, object]) -> dict[str, object]:
    """Replace `usage` by the counts in it; keep it when there are none."""
    from flow_xray._usage.counts import usage_of

    counts = usage_of(values["usage"])
    if not counts:
        return values
    return {**counts, **{key: value for key, value in values.items() if key != "usage"}}


def _as_rules(rules: "Rules | None") -> tuple[Any, ...] | None:
    if rules is None:
        return None
    if isinstance(rules, str) or callable(rules) or not hasattr(rules, "__iter__"):
        return (rules,)
    return tuple(rules)


def _name_of(fn: Callable[..., Any]) -> str:
    return str(getattr(fn, "__name__", type(fn).__name__))


def _is_traced(fn: Callable[..., Any]) -> bool:
    return getattr(getattr(fn, "__code__", None), "co_filename", None) == wrap.__code__.co_filename


def _attach(error: BaseException, session: Session) -> None:
    session.close()
    try:
        error.__xray__ = session.result()  # type: ignore[attr-defined]  # read by TraceResult.of
    except AttributeError:  # an exception class with slots; its trace is in the journal and in an outer session
        return


trace = Trace()
"""Record calls: decorate with it, run through it, capture with it."""
