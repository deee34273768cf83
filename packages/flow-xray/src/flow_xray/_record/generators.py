"""Traced generators: every step of one runs inside its span.

A generator runs in the context that calls `next`. The position is set around each single step and
restored after it, so that calls of the consumer between two items are not recorded as those of the
generator, and nothing is held across a `yield`. The span is open until the generator is
exhausted, closed or collected.
"""

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Final

from flow_xray._data.span import Json, Span
from flow_xray._record.session import Session, current_position, restore
from flow_xray._redaction.freeze import NOT_CAPTURED
from flow_xray._redaction.redactor import Redactor

_MAX_ITEMS: Final = 1_000


class Stream:
    """The span of a traced generator and its items so far."""

    __slots__ = (
        "_capture_output",
        "_count",
        "_first_ns",
        "_is_open",
        "_items",
        "_redactor",
        "position",
        "session",
        "span",
    )

    def __init__(self, session: Session, span: Span, redactor: Redactor, capture_output: bool) -> None:
        self.session = session
        self.span = span
        self.position = (session, span)
        self._redactor = redactor
        self._capture_output = capture_output
        self._items: list[Json] = []
        self._count = 0
        self._first_ns: int | None = None
        self._is_open = True

    def item(self, value: object) -> None:
        """Record an item."""
        if self._first_ns is None:
            self._first_ns = self.session.now_ns() - self.span.started_at_ns
        self._count += 1
        if self._capture_output and len(self._items) < _MAX_ITEMS:
            self._items.append(self.session.freeze(value, self._redactor))

    def finish(self, error: BaseException | None = None, returned: object = None) -> None:
        """Close the span of a generator that returned, was closed, or raised."""
        if not self._is_open:
            return
        self._is_open = False
        span = self.span
        self._count_items()
        span.output = self._output(returned)
        if error is not None:
            self.session.fail_span(span, error, self._redactor)
        else:
            self.session.close_span(span)

    def abandon(self) -> None:
        """Close the span of a generator that was collected before its end."""
        if self._is_open:
            self._is_open = False
            self.span.meta["abandoned"] = True
            self._count_items()
            self.span.output = self._output(None)
            self.session.close_span(self.span, "cancelled")

    def _count_items(self) -> None:
        self.span.meta["items"] = self._count
        if self._first_ns is not None:
            self.span.meta["time_to_first_item_ms"] = round(self._first_ns / 1e6, 3)

    def _output(self, returned: object) -> Json:
        if not self._capture_output:
            return NOT_CAPTURED
        items: Json = list(self._items)
        texts = [item for item in self._items if isinstance(item, str)]
        if texts and len(texts) == len(self._items):
            # Redact the joined text again: a secret may have been split over several items.
            items = self.session.freeze("".join(texts), self._redactor)
        if self._count > len(self._items):
            cut = f"… [{self._count - len(self._items):,} items cut] …"
            items = f"{items} {cut}" if isinstance(items, str) else [*self._items, cut]
        if returned is None:
            return items
        return {"items": items, "returned": self.session.freeze(returned, self._redactor)}


class TracedGenerator(Generator[Any, Any, Any]):
    """A generator whose every step runs inside its span."""

    __slots__ = ("_inner", "_stream")

    def __init__(self, inner: Generator[Any, Any, Any], stream: Stream) -> None:
        self._inner = inner
        self._stream = stream

    def __next__(self) -> Any:
        return self._step(self._inner.__next__)

    def send(self, value: Any) -> Any:
        return self._step(self._inner.send, value)

    def throw(self, *details: Any) -> Any:
        return self._step(self._inner.throw, *details)

    def close(self) -> None:
        position = current_position.get()
        current_position.set(self._stream.position)
        try:
            self._inner.close()
        except BaseException as error:
            self._stream.finish(error)
            raise
        finally:
            current_position.set(position)
        self._stream.finish()

    def _step(self, resume: Callable[..., Any], *details: Any) -> Any:
        position = current_position.get()
        current_position.set(self._stream.position)
        try:
            item = resume(*details)
        except StopIteration as stop:
            self._stream.finish(returned=stop.value)
            raise
        except BaseException as error:
            self._stream.finish(error)
            raise
        finally:
            current_position.set(position)
        self._stream.item(item)
        return item

    def __del__(self) -> None:
        self._stream.abandon()


class TracedAsyncGenerator(AsyncGenerator[Any, Any]):
    """An async generator whose every step runs inside its span."""

    __slots__ = ("_inner", "_stream")

    def __init__(self, inner: AsyncGenerator[Any, Any], stream: Stream) -> None:
        self._inner = inner
        self._stream = stream

    async def __anext__(self) -> Any:
        return await self._step(self._inner.__anext__)

    async def asend(self, value: Any) -> Any:
        return await self._step(self._inner.asend, value)

    async def athrow(self, *details: Any) -> Any:
        return await self._step(self._inner.athrow, *details)

    async def aclose(self) -> None:
        position = current_position.get()
        current_position.set(self._stream.position)
        try:
            await self._inner.aclose()
        except BaseException as error:
            self._stream.finish(error)
            restore(position, self._stream.position, error)
            raise
        current_position.set(position)
        self._stream.finish()

    async def _step(self, resume: Callable[..., Any], *details: Any) -> Any:
        position = current_position.get()
        current_position.set(self._stream.position)
        try:
            item = await resume(*details)
        except StopAsyncIteration:
            self._stream.finish()
            current_position.set(position)
            raise
        except BaseException as error:
            self._stream.finish(error)
            restore(position, self._stream.position, error)
            raise
        current_position.set(position)
        self._stream.item(item)
        return item

    def __del__(self) -> None:
        self._stream.abandon()
