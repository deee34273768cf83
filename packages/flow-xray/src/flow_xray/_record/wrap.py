"""The wrappers of `@trace`: one for each kind of function.

Theory of operation. Every wrapper does the same steps: read the current position; if nothing is
being recorded, call the function and return; freeze the arguments; run the function with its own
span as the position; freeze the result and restore the position by value.

* A coroutine has its own context for each task, so the position set before the first await holds
  until its end.
* A generator runs in the context that calls `next`; see `generators`.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

from flow_xray._data.span import Json, Span
from flow_xray._record.session import Session, current_position, restore
from flow_xray._record.traced_code import register
from flow_xray._redaction.freeze import NOT_CAPTURED, freeze_arguments
from flow_xray._redaction.redactor import Redactor, Rule

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Plan:
    """The facts about a traced function that are known before its first call."""

    __slots__ = (
        "_names",
        "_rest",
        "_secret_defaults",
        "_skipped",
        "capture_output",
        "code",
        "kind",
        "name",
        "redact",
    )

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str | None,
        kind: str,
        redact: tuple[Rule, ...] | None,
        capture_output: bool,
    ) -> None:
        self.name = name or getattr(fn, "__qualname__", type(fn).__name__).rpartition("<locals>.")[2]
        self.kind = kind
        self.redact = redact
        self.capture_output = capture_output
        code = getattr(inspect.unwrap(getattr(fn, "func", fn)), "__code__", None)
        self.code = "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"
        if code is not None:
            register(code)
        try:
            parameters = list(inspect.signature(fn).parameters.values())
        except (TypeError, ValueError):  # a builtin without a signature
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
        """Freeze the arguments as they were passed, by parameter name and without `self`.

        Open the span.
        """
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
        return session.open_span(parent, self.name, self.kind, given, self.code), redactor

    def output(self, session: Session, redactor: Redactor, value: object) -> Json:
        """Freeze the return value of the call."""
        return session.freeze(value, redactor) if self.capture_output else NOT_CAPTURED


def wrap(fn: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    """Return the traced form of a function, coroutine function or generator function."""
    target = inspect.unwrap(fn) if not inspect.iscoroutinefunction(fn) else fn
    if inspect.iscoroutinefunction(target):
        return _wrap_coroutine(fn, plan)
    if inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target):
        return _wrap_generator(fn, plan, is_async=inspect.isasyncgenfunction(target))
    return _wrap_function(fn, plan)


def _wrap_function(fn: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    @functools.wraps(fn)
    def traced(*args: Any, **kwargs: Any) -> Any:
        position = current_position.get()
        if position is None or position[0].closed:
            return fn(*args, **kwargs)
        session = position[0]
        span, redactor = plan.begin(session, position[1], args, kwargs)
        current_position.set((session, span))
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            current_position.set(position)
            session.fail_span(span, error, redactor)
            raise
        current_position.set(position)
        span.output = plan.output(session, redactor, value)
        session.close_span(span)
        return value

    return traced


def _wrap_coroutine(fn: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def traced(*args: Any, **kwargs: Any) -> Any:
        position = current_position.get()
        if position is None or position[0].closed:
            return await fn(*args, **kwargs)
        session = position[0]
        span, redactor = plan.begin(session, position[1], args, kwargs)
        own = (session, span)
        current_position.set(own)
        try:
            value = await fn(*args, **kwargs)
        except BaseException as error:
            restore(position, own, error)
            session.fail_span(span, error, redactor)
            raise
        current_position.set(position)
        span.output = plan.output(session, redactor, value)
        session.close_span(span)
        return value

    return traced


def _wrap_generator(fn: Callable[..., Any], plan: Plan, *, is_async: bool) -> Callable[..., Any]:
    from flow_xray._record.generators import Stream, TracedAsyncGenerator, TracedGenerator

    traced_type = TracedAsyncGenerator if is_async else TracedGenerator

    @functools.wraps(fn)
    def traced(*args: Any, **kwargs: Any) -> Any:
        position = current_position.get()
        if position is None or position[0].closed:
            return fn(*args, **kwargs)
        session = position[0]
        span, redactor = plan.begin(session, position[1], args, kwargs)
        return traced_type(fn(*args, **kwargs), Stream(session, span, redactor, plan.capture_output))

    return traced
