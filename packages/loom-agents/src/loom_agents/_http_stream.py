"""Streams of events that can be cut anywhere and resumed exactly.

Theory of operation
-------------------
What a stream sends with an id comes from the database's log (`EventLog`), never from memory: its number is the id, and
a client that comes back with `Last-Event-ID` gets what stands behind that number, in the same order, whoever wrote it
and whichever server it asks. Two clients of a run read the same rows and cannot differ.

Pieces of a model's text are sent as they come, without an id. They are not kept; a client that lost some finds the
whole text in the run once its step is committed. So an id never moves past something that was not sent.

Nothing is pushed to a slow client: each stream reads on when its own socket has taken what came before. The hub only
wakes the streams: by what a run in this process tells, and by a look at the database's change counter, which sees what
other processes write.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from loom_runner import EventLog, RunEvent

from loom_agents._http_view import EventViews

if TYPE_CHECKING:
    import anyio
    from sse_starlette import ServerSentEvent

__all__ = ["Hub", "event_stream"]

LOOK_EVERY_S: Final = 0.15
_MOST_PIECES: Final = 2000
_AT_ONCE: Final = 200
_OVER: Final = frozenset({"completed", "failed", "cancelled"})


class Hub:
    """Wake streams when something happened, and pass on what is not kept."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._listeners: set[Inbox] = set()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    def tell(self, event: RunEvent) -> None:
        """Take an event of a run that is driven here."""
        said = event.data.get("event") if event.kind == "emitted" else None
        for inbox in self._listeners:
            if said is not None and inbox.run_id in (None, event.run_id):
                inbox.pieces.append({"run_id": event.run_id, "step_index": event.step_index, **said})
            inbox.bell.set()

    def wake(self) -> None:
        """Let every stream look."""
        for inbox in self._listeners:
            inbox.bell.set()

    async def watch(self) -> None:
        """Look for what other processes write, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._listeners and self._log.has_changed():
                self.wake()

    @contextmanager
    def listening(self, run_id: str | None) -> Iterator["Inbox"]:
        """Listen to one run, or to all."""
        inbox = Inbox(run_id)
        self._listeners.add(inbox)
        try:
            yield inbox
        finally:
            self._listeners.discard(inbox)


class Inbox:
    """What one stream has to look at."""

    __slots__ = ("bell", "pieces", "run_id")

    def __init__(self, run_id: str | None) -> None:
        self.run_id = run_id
        self.bell = asyncio.Event()
        self.pieces: deque[dict[str, Any]] = deque(maxlen=_MOST_PIECES)

    @contextmanager
    def rung_by(self, event: "anyio.Event | None") -> Iterator[None]:
        """Ring the bell when the event is set."""

        async def ring() -> None:
            if event is not None:
                await event.wait()
                self.bell.set()

        ringing = asyncio.create_task(ring())
        try:
            yield
        finally:
            ringing.cancel()


async def event_stream(
    log: EventLog,
    hub: Hub,
    views: EventViews,
    *,
    run_id: str | None,
    after: int,
    lost: bool = False,
    leaving: "anyio.Event | None" = None,
) -> AsyncIterator["ServerSentEvent"]:
    """Give the events behind a number, then those to come.

    The stream of one run ends when the run has ended and all of it was sent; its last event is `end`.

    Args:
        log: where the events are.
        hub: wakes the stream.
        views: writes an event out.
        run_id: which run; None for all.
        after: the number of the last event that the client has.
        lost: the client's number makes no sense here; it is told to forget what it has, and gets everything.
        leaving: set when the server ends; so does the stream then, and the client comes back to the next one.
    """
    from sse_starlette import ServerSentEvent

    if lost:
        yield ServerSentEvent(event="resync", data=_text({"why": "this server does not know the event id"}))
    with hub.listening(run_id) as inbox, inbox.rung_by(leaving):
        while leaving is None or not leaving.is_set():
            inbox.bell.clear()
            events = log.after(after, run_id=run_id, limit=_AT_ONCE)
            for event, view in zip(events, views.of(events), strict=True):
                yield ServerSentEvent(id=str(event.seq), event=event.kind, data=_text(view))
                after = event.seq
            while inbox.pieces:
                yield ServerSentEvent(event="live", data=_text(inbox.pieces.popleft()))
            if len(events) == _AT_ONCE:
                continue
            if run_id is not None and not inbox.bell.is_set() and views.status(run_id) in _OVER:
                if log.after(after, run_id=run_id, limit=1):
                    continue
                yield ServerSentEvent(event="end", data=_text({"run_id": run_id, "status": views.status(run_id)}))
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(inbox.bell.wait(), 5)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
