"""`trace`: the one object through which a program is recorded."""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar, overload

from flow_xray._freeze import DEFAULT_LIMITS, Limits
from flow_xray._model import Span
from flow_xray._redact import Redactor, Rules
from flow_xray._result import TraceResult
from flow_xray._session import Session, here, leave, open_journal
from flow_xray._wrap import Plan, wrap

P = ParamSpec("P")
T = TypeVar("T")
_HEX = frozenset("0123456789abcdef")
F = TypeVar("F", bound=Callable[..., Any])


class Trace:
    """Record calls. Use the ready-made `trace`; there is no need for another one.

        @trace(kind="tool")
        def search(query): ...

        result = trace.run(search, "loom")
        result.to_html("trace.html")

    Outside a session a traced function costs one context variable read.
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
            fn: the function, when used without arguments.
            name: shown instead of the function's qualified name.
            kind: "function", "agent", "llm", "tool", "retrieval", ... decides colour and meaning in the page.
            redact: rules beside the session's: keys, compiled patterns, callables `(key, value) -> value`.
            capture_output: False keeps the returned value out of the trace.
        """
        own = _as_rules(redact)

        def decorate(target: Callable[..., Any]) -> Callable[..., Any]:
            if isinstance(target, staticmethod | classmethod):
                return type(target)(decorate(target.__func__))
            if not callable(target):
                raise TypeError(
                    f"cannot trace {target!r}: because it is not callable. Put @trace on a function or a method."
                )
            return wrap(target, Plan(target, name, kind, own, capture_output))

        return decorate if fn is None else decorate(fn)

    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> TraceResult:
        """Call `fn` in a session of its own and return the trace; `result.value` is what it returned, frozen.

        Raises:
            BaseException: what `fn` raises; `TraceResult.of(error)` gives the trace of that call.
        """
        name = _name_of(fn)
        with self.capture(name=name) as session:
            try:
                session.value = session.freeze(self._rooted(fn)(*args, **kwargs))
            except BaseException as error:
                _attach(error, session)
                raise
        return session.result()

    async def arun(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> TraceResult:
        """Await `fn` in a session of its own and return the trace.

        Raises:
            BaseException: what `fn` raises; `TraceResult.of(error)` gives the trace of that call.
        """
        name = _name_of(fn)
        with self.capture(name=name) as session:
            try:
                session.value = session.freeze(await self._rooted(fn)(*args, **kwargs))
            except BaseException as error:
                _attach(error, session)
                raise
        return session.result()

    def _rooted(self, fn: Callable[P, T]) -> Callable[P, T]:
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
        """Record everything traced inside the `with` block; `session.result()` gives the trace, also before the end.

        Args:
            name: title of the trace.
            journal: a `.xray` file; every start and end is appended to it at once, so a killed process loses at most
                the record that it was writing.
            redact: rules beside the built-in ones: keys, compiled patterns, callables `(key, value) -> value`.
            limits: how much of a value is kept.
            lines: also record which lines of the traced functions ran, for the branches that the run did not take;
                nearly free from Python 3.12 on, before it slows every call of the block down.
            caller: a W3C `traceparent` (of a request's header, say): the span of another process under which this
                session hangs; without it the environment's TRACEPARENT counts. What is none is ignored.

        Raises:
            TraceOutputError: the journal cannot be opened.

        Durability: records survive the death of the process at once, and of the machine when the system has
        written them back.
        """
        from flow_xray._threads import carrying_threads

        place = here.get()
        outer = place if place is not None and not place[0].closed else None
        session = Session(
            name,
            redactor=Redactor((*self._rules, *(_as_rules(redact) or ())), outer[0].redactor if outer else None),
            limits=limits or self._limits,
            journal=None if journal is None else open_journal(journal),
            outer=outer,
            caller=None
            if outer is not None
            else _caller_in(os.environ.get("TRACEPARENT", "") if caller is None else caller),
        )
        mine = (session, None)
        here.set(mine)
        try:
            with carrying_threads():
                if not lines:
                    yield session
                else:
                    from flow_xray._lines import watching_lines

                    with watching_lines() as watch:
                        try:
                            yield session
                        finally:
                            session.add_meta(None, {"lines": watch.facts()})
        except BaseException as error:
            leave(mine, place, error)
            raise
        else:
            here.set(place)
        finally:
            session.close()

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: str = "function",
        input: object = None,  # noqa: A002  the name that the span gives it
        **meta: object,
    ) -> Iterator[Span]:
        """Record the `with` block as one span; without a session the span is thrown away.

        Args:
            name: what is done.
            kind: as in `@trace`.
            input: what it works on; frozen at once.
            **meta: what is known beside the values: model, run_id, ...
        """
        place = here.get()
        if place is None or place[0].closed:
            yield Span("0" * 16, None, name, kind, status="open")
            return
        session, parent = place
        given = session.freeze(input)
        span = session.open(parent, session.redactor.text(name), kind, given)
        if meta:
            session.add_meta(span, meta)
        mine = (session, span)
        here.set(mine)
        try:
            yield span
        except BaseException as error:
            leave(mine, place, error)
            session.fail_span(span, error)
            raise
        here.set(place)
        span.output = session.freeze(span.output)
        if span.error is not None:  # set by the block: it failed without an exception
            told = session.freeze(span.error)
            span.error = told if isinstance(told, dict) else {"type": "error", "message": told, "traceback": ""}
        session.close_span(span, "ok" if span.error is None else "error")

    def meta(self, **values: object) -> None:
        """Add to the current span: model=, input_tokens= (cache included), output_tokens=, cost_usd=, anything.

        `usage=` takes a provider's response or usage object (OpenAI, Anthropic, pydantic-ai, or a dict) and adds its
        counts in one way of counting.
        """
        place = here.get()
        if place is not None and not place[0].closed:
            if "usage" in values:
                values = _with_counts(values)
            place[0].add_meta(place[1], values)

    def tag(self, name: str, /, **values: object) -> None:
        """Set a mark in time on the current span."""
        place = here.get()
        if place is not None and not place[0].closed:
            place[0].add_tag(place[1], name, values)

    def environment(self) -> dict[str, str]:
        """Return the environment variables that put the sessions of a child process under the current span.

            subprocess.run(command, env={**os.environ, **trace.environment()})

        The child keeps a journal of its own; `read_journal(ours, theirs)` makes one trace of both. Empty when nothing
        is recorded. Source: W3C Trace Context, carried in the variable TRACEPARENT.
        """
        place = here.get()
        if place is None or place[0].closed:
            return {}
        session, span = place
        caller = span.id if span is not None else session.outer_id()
        return {"TRACEPARENT": f"00-{session.trace_id}-{caller or session.trace_id[:16]}-01"}

    def active(self) -> bool:
        """Say whether anything is being recorded here."""
        place = here.get()
        return place is not None and not place[0].closed

    def configure(self, *, redact: Rules | None = None, limits: Limits | None = None, **sizes: int) -> None:
        """Set what later sessions start with.

        Args:
            redact: rules for every session; they replace those of an earlier call.
            limits: how much of a value is kept.
            **sizes: single limits by name: max_string, max_items, max_depth, max_nodes.

        Raises:
            TypeError: there is no such limit, or a rule is none.
            ValueError: a limit is below 0.
        """
        unknown = sorted(sizes.keys() - Limits.__annotations__.keys())
        if unknown:
            raise TypeError(
                f"cannot configure {unknown[0]}: because there is no such limit. Give one of "
                f"{', '.join(Limits.__annotations__)}."
            )
        rules = self._rules if redact is None else _as_rules(redact) or ()
        Redactor(rules)  # refuses what is no rule, before anything is changed
        if limits is not None or sizes:
            self._limits = replace(limits or self._limits, **sizes)
        self._rules = rules


def _caller_in(text: str) -> tuple[str, str] | None:
    """Read a W3C traceparent; something that is no such thing is as good as nothing."""
    parts = text.split("-")
    if len(parts) < 4 or [len(part) for part in parts[:3]] != [2, 32, 16] or parts[0] == "ff":
        return None
    is_valid = all(_HEX.issuperset(part) for part in parts[:3]) and set(parts[1]) != {"0"} and set(parts[2]) != {"0"}
    return (parts[1], parts[2]) if is_valid else None


def _with_counts(values: dict[str, object]) -> dict[str, object]:
    """Replace `usage` by the counts in it; keep it when there are none."""
    from flow_xray._usage import usage_of

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
    except AttributeError:  # an exception class with slots; its trace is still in the journal and in an outer session
        return


trace = Trace()
"""Record calls: decorate with it, run through it, capture with it."""
