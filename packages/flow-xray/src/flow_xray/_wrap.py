"""What `@trace` puts around a function: one wrapper per kind of function.

Theory of operation. Every wrapper does the same five things: read the place; if nobody records, call and be
done; freeze the arguments; run the function with the place set to its own span; freeze the result and put the
place back by value.

* A coroutine has its own context per task, so the place set before the first await is right until its end.
* A generator runs in whatever context calls `next`. Its place is set around each single step and put back after
  it, so that what the consumer does between two items is not taken for the generator's work, and nothing is
  held across a `yield`. Its span is open until it is exhausted, closed, or collected.
"""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Final

from flow_xray._freeze import freeze_arguments
from flow_xray._model import Json, Span
from flow_xray._redact import Redactor, Rule
from flow_xray._session import Session, here, leave
from flow_xray._traced import note_traced

_KEPT_ITEMS: Final = 1_000
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
NOT_CAPTURED: Final = "[not captured]"


class Plan:
    """What is known about a traced function before its first call."""

    __slots__ = ("_names", "_rest", "_secret_defaults", "_skipped", "capture_output", "code", "kind", "name", "redact")

    def __init__(
        self, fn: Callable[..., Any], name: str | None, kind: str, redact: tuple[Rule, ...] | None, capture_output: bool
    ) -> None:
        self.name = name or getattr(fn, "__qualname__", type(fn).__name__).rpartition("<locals>.")[2]
        self.kind = kind
        self.redact = redact
        self.capture_output = capture_output
        code = getattr(inspect.unwrap(getattr(fn, "func", fn)), "__code__", None)
        self.code = "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"
        if code is not None:
            note_traced(code)
        try:
            parameters = list(inspect.signature(fn).parameters.values())
        except (TypeError, ValueError):  # a builtin that does not say what it takes
            parameters = []
        names = tuple(each.name for each in parameters if each.kind in _POSITIONAL)
        self._skipped = 1 if names and names[0] in ("self", "cls") else 0
        self._names = names[self._skipped :]
        self._rest = next(
            (f"*{each.name}" for each in parameters if each.kind is inspect.Parameter.VAR_POSITIONAL), "*args"
        )
        self._secret_defaults = [(each.name, each.default) for each in parameters if isinstance(each.default, str)]

    def begin(
        self, session: Session, parent: Span | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Span, Redactor]:
        """Freeze the arguments as they were passed, by parameter name and without `self`, and open the span."""
        redactor = session.redactor if self.redact is None else session.redactor_for(self.redact)
        if self._secret_defaults:
            for name, default in self._secret_defaults:
                if redactor.hides(name):
                    redactor.remember(default)
        values = args[1:] if self._skipped else args
        given = freeze_arguments(self._names, values, redactor, session.limits)
        if len(values) > len(self._names):
            given[self._rest] = session.freeze(values[len(self._names) :], redactor)
        if kwargs:
            given.update(freeze_arguments(kwargs, kwargs.values(), redactor, session.limits))
        return session.open(parent, self.name, self.kind, given, self.code), redactor

    def output(self, session: Session, redactor: Redactor, value: object) -> Json:
        """Freeze what the call returned."""
        return session.freeze(value, redactor) if self.capture_output else NOT_CAPTURED


def wrap(fn: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    """Return the traced form of a function, coroutine function, generator function or async generator function."""
    target = inspect.unwrap(fn) if not inspect.iscoroutinefunction(fn) else fn
    if inspect.iscoroutinefunction(target):
        return _wrap_coroutine(fn, plan)
    if inspect.isasyncgenfunction(target):
        return _wrap_generator(fn, plan, TracedAsyncGenerator)
    if inspect.isgeneratorfunction(target):
        return _wrap_generator(fn, plan, TracedGenerator)
    return _wrap_function(fn, plan)


def _wrap_function(fn: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    @functools.wraps(fn)
    def traced(*args: Any, **kwargs: Any) -> Any:
        place = here.get()
        if place is None or place[0].closed:
            return fn(*args, **kwargs)
        session = place[0]
        span, redactor = plan.begin(session, place[1], args, kwargs)
        here.set((session, span))
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            here.set(place)
            session.fail_span(span, error, redactor)
            raise
        here.set(place)
        span.output = plan.output(session, redactor, value)
        session.close_span(span)
        return value

    return traced


def _wrap_coroutine(fn: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def traced(*args: Any, **kwargs: Any) -> Any:
        place = here.get()
        if place is None or place[0].closed:
            return await fn(*args, **kwargs)
        session = place[0]
        span, redactor = plan.begin(session, place[1], args, kwargs)
        mine = (session, span)
        here.set(mine)
        try:
            value = await fn(*args, **kwargs)
        except BaseException as error:
            leave(mine, place, error)
            session.fail_span(span, error, redactor)
            raise
        here.set(place)
        span.output = plan.output(session, redactor, value)
        session.close_span(span)
        return value

    return traced


def _wrap_generator(
    fn: Callable[..., Any], plan: Plan, traced_type: "type[TracedGenerator | TracedAsyncGenerator]"
) -> Callable[..., Any]:
    @functools.wraps(fn)
    def traced(*args: Any, **kwargs: Any) -> Any:
        place = here.get()
        if place is None or place[0].closed:
            return fn(*args, **kwargs)
        session = place[0]
        span, redactor = plan.begin(session, place[1], args, kwargs)
        return traced_type(fn(*args, **kwargs), _Stream(session, span, plan, redactor))

    return traced


class _Stream:
    """What a traced generator of either kind remembers: its span and the items so far."""

    __slots__ = ("_count", "_first_ns", "_items", "_open", "_plan", "_redactor", "place", "session", "span")

    def __init__(self, session: Session, span: Span, plan: Plan, redactor: Redactor) -> None:
        self.session = session
        self.span = span
        self.place = (session, span)
        self._plan = plan
        self._redactor = redactor
        self._items: list[Json] = []
        self._count = 0
        self._first_ns: int | None = None
        self._open = True

    def item(self, value: object) -> None:
        if self._first_ns is None:
            self._first_ns = self.session.now_ns() - self.span.started_at_ns
        self._count += 1
        if self._plan.capture_output and len(self._items) < _KEPT_ITEMS:
            self._items.append(self.session.freeze(value, self._redactor))

    def finish(self, error: BaseException | None = None, returned: object = None) -> None:
        if not self._open:
            return
        self._open = False
        span = self.span
        self._count_items()
        span.output = self._output(returned)
        if error is not None:
            self.session.fail_span(span, error, self._redactor)
        else:
            self.session.close_span(span)

    def abandon(self) -> None:
        """Close the span of a generator that nobody will resume."""
        if self._open:
            self._open = False
            self.span.meta["abandoned"] = True
            self._count_items()
            self.span.output = self._output(None)
            self.session.close_span(self.span, "cancelled")

    def _count_items(self) -> None:
        self.span.meta["items"] = self._count
        if self._first_ns is not None:
            self.span.meta["time_to_first_item_ms"] = round(self._first_ns / 1e6, 3)

    def _output(self, returned: object) -> Json:
        if not self._plan.capture_output:
            return NOT_CAPTURED
        items: Json = list(self._items)
        texts = [item for item in self._items if isinstance(item, str)]
        if texts and len(texts) == len(self._items):
            # Redacted again as a whole: a secret may have come in pieces.
            items = self.session.freeze("".join(texts), self._redactor)
        elif self._count > len(self._items):
            items = [*self._items, f"… [{self._count - len(self._items):,} items cut] …"]
        if returned is None:
            return items
        return {"items": items, "returned": self.session.freeze(returned, self._redactor)}


class TracedGenerator(Generator[Any, Any, Any]):
    """A generator whose every step runs inside its span."""

    __slots__ = ("_inner", "_stream")

    def __init__(self, inner: Generator[Any, Any, Any], stream: _Stream) -> None:
        self._inner = inner
        self._stream = stream

    def __next__(self) -> Any:
        return self._step(self._inner.__next__)

    def send(self, value: Any) -> Any:
        return self._step(self._inner.send, value)

    def throw(self, *details: Any) -> Any:
        return self._step(self._inner.throw, *details)

    def close(self) -> None:
        place = here.get()
        here.set(self._stream.place)
        try:
            self._inner.close()
        except BaseException as error:
            self._stream.finish(error)
            raise
        finally:
            here.set(place)
        self._stream.finish()

    def _step(self, move: Callable[..., Any], *details: Any) -> Any:
        place = here.get()
        here.set(self._stream.place)
        try:
            item = move(*details)
        except StopIteration as stop:
            self._stream.finish(returned=stop.value)
            raise
        except BaseException as error:
            self._stream.finish(error)
            raise
        finally:
            here.set(place)
        self._stream.item(item)
        return item

    def __del__(self) -> None:
        self._stream.abandon()


class TracedAsyncGenerator(AsyncGenerator[Any, Any]):
    """An async generator whose every step runs inside its span."""

    __slots__ = ("_inner", "_stream")

    def __init__(self, inner: AsyncGenerator[Any, Any], stream: _Stream) -> None:
        self._inner = inner
        self._stream = stream

    async def __anext__(self) -> Any:
        return await self._step(self._inner.__anext__)

    async def asend(self, value: Any) -> Any:
        return await self._step(self._inner.asend, value)

    async def athrow(self, *details: Any) -> Any:
        return await self._step(self._inner.athrow, *details)

    async def aclose(self) -> None:
        place = here.get()
        here.set(self._stream.place)
        try:
            await self._inner.aclose()
        except BaseException as error:
            self._stream.finish(error)
            leave(self._stream.place, place, error)
            raise
        here.set(place)
        self._stream.finish()

    async def _step(self, move: Callable[..., Any], *details: Any) -> Any:
        place = here.get()
        here.set(self._stream.place)
        try:
            item = await move(*details)
        except StopAsyncIteration:
            self._stream.finish()
            here.set(place)
            raise
        except BaseException as error:
            self._stream.finish(error)
            leave(self._stream.place, place, error)
            raise
        here.set(place)
        self._stream.item(item)
        return item

    def __del__(self) -> None:
        self._stream.abandon()
