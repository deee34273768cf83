"""Streams of events that continue without a gap after a lost connection.

Theory of operation
-------------------
Every event with an id comes from the event log of the database (`EventLog`), never from memory: its
id is the number of the entry. A client that reconnects with `Last-Event-ID` gets the entries after
that number in the same order, no matter which process wrote them and which server sends them. Two
clients of a run read the same rows and cannot see different histories.

Deltas of a model's text are sent as they arrive, without an id. They are not stored; a client that
missed some finds the complete text in the run after its step is committed. So an id never skips an
event that was not sent.

Nothing is buffered for a slow client: each stream reads more entries when its socket has accepted
the previous ones. The hub only wakes the streams: when a run in this process publishes an event,
and when the data version of the database shows that another process has written.
"""

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from loom_runner import EventLog, RunEvent

from loom_agents._serve.event_view import EventViews

if TYPE_CHECKING:
    import anyio
    from sse_starlette import EventSourceResponse, ServerSentEvent

__all__ = ["Hub", "StreamLimit", "event_stream"]

POLL_INTERVAL_S: Final = 0.15
RECHECK_S: Final = 1.0
"""How long a stream without events waits until it asks again whether its client may read."""

_MAX_DELTAS: Final = 2000
_BATCH: Final = 200
_FINAL_STATUSES: Final = frozenset({"completed", "failed", "cancelled"})


class Hub:
    """Wake streams when there are new events, and forward events that are not stored."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._inboxes: set[Inbox] = set()

    @property
    def streams(self) -> int:
        """The number of open streams."""
        return len(self._inboxes)

    def publish(self, event: RunEvent) -> None:
        """Forward an event of a run that this process drives."""
        emitted = event.data.get("event") if event.kind == "emitted" else None
        for inbox in self._inboxes:
            if emitted is not None and inbox.run_id in (None, event.run_id):
                inbox.deltas.append({"run_id": event.run_id, "step_index": event.step_index, **emitted})
            inbox.has_news.set()

    def wake(self) -> None:
        """Wake every stream, so that it reads the log."""
        for inbox in self._inboxes:
            inbox.has_news.set()

    async def watch(self) -> None:
        """Wake the streams whenever another process has written, until cancelled."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            if self._inboxes and self._log.has_changed():
                self.wake()

    @contextmanager
    def subscription(self, run_id: str | None) -> Iterator["Inbox"]:
        """Subscribe to one run, or to all runs."""
        inbox = Inbox(run_id)
        self._inboxes.add(inbox)
        try:
            yield inbox
        finally:
            self._inboxes.discard(inbox)


class Inbox:
    """Hold what one stream has not yet sent."""

    __slots__ = ("deltas", "has_news", "run_id")

    def __init__(self, run_id: str | None) -> None:
        self.run_id = run_id
        self.has_news = asyncio.Event()
        self.deltas: deque[dict[str, Any]] = deque(maxlen=_MAX_DELTAS)

    def drop_deltas(self, run_id: str, step_index: int | None) -> None:
        """Drop what was said in a step that is committed: clients have read its result before."""
        kept = [delta for delta in self.deltas if (delta["run_id"], delta["step_index"]) != (run_id, step_index)]
        self.deltas.clear()
        self.deltas.extend(kept)

    @contextmanager
    def woken_by(self, event: "anyio.Event | None") -> Iterator[None]:
        """Wake the stream when the event is set."""

        async def forward() -> None:
            if event is not None:
                await event.wait()
                self.has_news.set()

        forwarding = asyncio.create_task(forward())
        try:
            yield
        finally:
            forwarding.cancel()


class StreamLimit:
    """Count the open streams of each token.

    Args:
        most: The streams that one token may have open.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def response(self, name: str, events: AsyncIterator["ServerSentEvent"], **options: Any) -> "EventSourceResponse":
        """Return the response that streams events.

        Args:
            name: The name of the token.
            options: Those of `EventSourceResponse`.

        Raises:
            HTTPException: The token has too many open streams.
        """
        from fastapi import HTTPException
        from sse_starlette import EventSourceResponse

        counts = self._open
        if counts[name] >= self._most:
            text = f"cannot open a stream: {self._most} streams of {name!r} are open. Close one."
            raise HTTPException(429, text, {"retry-after": "5"})

        class Counted(EventSourceResponse):
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                try:
                    await super().__call__(scope, receive, send)
                finally:
                    counts[name] -= 1

        counts[name] += 1
        return Counted(events, **options)


async def event_stream(
    log: EventLog,
    hub: Hub,
    views: EventViews,
    *,
    run_id: str | None,
    after: int,
    is_unknown: bool = False,
    stopping: "anyio.Event | None" = None,
    is_permitted: Callable[[], bool] = lambda: True,
) -> AsyncIterator["ServerSentEvent"]:
    """Yield the events after a number, and then new ones as they occur.

    The stream of one run ends when the run has ended and everything was sent; its last event is
    `end`.

    Args:
        log: The event log.
        hub: The hub that wakes the stream.
        views: Describes the events.
        run_id: The run; None for all runs.
        after: The number of the last event that the client has.
        is_unknown: Whether the client's number does not exist here; the client then gets a `resync`
            event, which tells it to discard what it has, and all events.
        stopping: Set when the server stops; the stream then ends, and the client reconnects.
        is_permitted: Whether the client may still read. The stream ends, within a second, when it
            may not.
    """
    from sse_starlette import ServerSentEvent

    if is_unknown:
        yield ServerSentEvent(event="resync", data=_text({"why": "this server does not know the event id"}))
    with hub.subscription(run_id) as inbox, inbox.woken_by(stopping):
        while (stopping is None or not stopping.is_set()) and is_permitted():
            inbox.has_news.clear()
            events = log.after(after, run_id=run_id, limit=_BATCH)
            for event, view in zip(events, views.of(events), strict=True):
                yield ServerSentEvent(id=str(event.seq), event=event.kind, data=_text(view))
                after = event.seq
                if event.kind == "step":
                    inbox.drop_deltas(event.run_id, event.ref)
            while inbox.deltas:
                yield ServerSentEvent(event="live", data=_text(inbox.deltas.popleft()))
            if len(events) == _BATCH:
                continue
            if run_id is not None and not inbox.has_news.is_set() and views.status(run_id) in _FINAL_STATUSES:
                if log.after(after, run_id=run_id, limit=1):
                    continue
                yield ServerSentEvent(event="end", data=_text({"run_id": run_id, "status": views.status(run_id)}))
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(inbox.has_news.wait(), RECHECK_S)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
